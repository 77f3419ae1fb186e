"""Detached signatures of manifests, and the keys that are trusted.

A manifest lists the hashes of its files, so a signature over the manifest's bytes is one over all of them.
It stands beside it: ``manifest.json.sig``. Where AIGQ_TRUSTED_KEYS_FILE is set, a bundle or mapping version
that none of its keys signed is refused; where it is not, signatures are not looked at.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from streams.errors import SettingsError
from streams.settings import Settings
from streams.signatures import SigningKey, key_id_of, verify

SIGNATURE_SUFFIX: Final = ".sig"
LIMIT_BYTES: Final = 4096
KEY_BYTES: Final = 32
Trusted = tuple[str, ...] | None  # public keys as text; None: signatures are not looked at


class _Signature(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key_id: str
    signature: str


def signature_file(manifest: Path) -> Path:
    """Where the signature of a manifest stands."""
    return manifest.with_name(manifest.name + SIGNATURE_SUFFIX)


def sign_manifest(manifest: Path, key: SigningKey) -> Path:
    """Sign the manifest's bytes as they are; the signature's file. Raises OSError."""
    signature = base64.b64encode(key.sign(manifest.read_bytes())).decode()
    path = signature_file(manifest)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(_Signature(key_id=key.key_id, signature=signature).model_dump_json() + "\n")
    unfinished.replace(path)
    return path


def why_not_trusted(manifest: bytes, path: Path, trusted: Trusted) -> str:
    """What is wrong with the signature beside the manifest at `path`; "": nothing, or it does not count.

    manifest: the very bytes that are used.
    """
    if trusted is None:
        return ""
    try:
        with signature_file(path).open("rb") as file:
            found = _Signature.model_validate_json(file.read(LIMIT_BYTES))
        signature = base64.b64decode(found.signature, validate=True)
    except FileNotFoundError:
        return "it is not signed"
    except (OSError, ValidationError, binascii.Error):
        return "its signature cannot be read"
    keys = [key for key in trusted if key_id_of(key) == found.key_id]
    if not keys:
        return "it is signed with a key that is not trusted here"
    if not any(verify(manifest, signature, key) for key in keys):
        return "its signature is not of this manifest"
    return ""


def trusted_keys(settings: Settings) -> Trusted:
    """The public keys of AIGQ_TRUSTED_KEYS_FILE, read anew each time. Raises SettingsError."""
    path = settings.trusted_keys_file
    if path is None:
        return None
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        keys = tuple(words[0] for words in lines if words and not words[0].startswith("#"))
        if not all(len(base64.b64decode(key, validate=True)) == KEY_BYTES for key in keys):
            raise ValueError("no key")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"AIGQ_TRUSTED_KEYS_FILE ({path}) holds no public keys ({type(error).__name__}). "
            "Nothing new is trusted.",
            action="Write one key a line, as `aigq keys show` prints it; a name may follow.",
        ) from error
    return keys
