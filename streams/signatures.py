"""Ed25519 signatures, for whatever must not be changed by others: receipts, bundles, mappings.

A key is named by its first digits; public keys travel as base64 text. `cryptography` is loaded when it is
needed, since a backend that reads hints needs none of this.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streams.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key in memory. It is never printed."""

    _private: Ed25519PrivateKey

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(data)

    @property
    def public_text(self) -> str:
        """The public key, base64: give it to whoever verifies."""
        return base64.b64encode(self._private.public_key().public_bytes_raw()).decode()

    @property
    def key_id(self) -> str:
        """16 hexadecimal digits that name the key."""
        return key_id_of(self.public_text)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


def key_id_of(public_text: str) -> str:
    """The name of a public key."""
    return hashlib.sha256(public_text.encode()).hexdigest()[:16]


def load_signing_key(path: Path) -> SigningKey:
    """A key that `create_signing_key` wrote. Raises SettingsError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        seed = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
        return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))
    except (OSError, ValueError) as error:  # says nothing of the content
        raise SettingsError(
            f"{path} holds no signing key ({type(error).__name__}).",
            action="Make one with `aigq keys new`, and check the file's rights.",
        ) from None


def create_signing_key(path: Path) -> SigningKey:
    """A new key in a new file that only its owner can read. Raises SettingsError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    text = base64.b64encode(private.private_bytes_raw()) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
    except OSError as error:
        raise SettingsError(
            f"The key cannot be written to {path}: {error.strerror}.",
            action="Name a file that does not exist yet, in a folder that you may write to.",
        ) from error
    return SigningKey(private)


def verify(data: bytes, signature: bytes, public_text: str) -> bool:
    """Whether `signature` over `data` was made with the private half of the key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_text, validate=True))
        key.verify(signature, data)
    except (ValueError, InvalidSignature):
        return False
    return True
