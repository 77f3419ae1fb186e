"""The server's half of SCRAM (RFC 5802), as Kafka's SCRAM-SHA-256 and SCRAM-SHA-512 use it.

No channel binding, no authorization identity of its own. Passwords are taken as they are (the RFC would
prepare them with SASLprep first, which changes nothing in ASCII).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HASHES: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
ITERATIONS: Final = 4096  # the least that the RFC allows, and Kafka's default
_NO_BINDING: Final = base64.b64encode(b"n,,").decode()


class ScramError(Exception):
    """The client's message is no SCRAM, or its proof is wrong."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server knows of a password: enough to check a proof, not enough to make one."""

    hash_name: str
    salt: bytes
    stored_key: bytes
    server_key: bytes


def verifier_of(password: str, mechanism: str, salt: bytes) -> Verifier:
    """The verifier of a password under one of HASHES."""
    name = HASHES[mechanism]
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, ITERATIONS)
    client_key = _hmac(name, salted, b"Client Key")
    return Verifier(name, salt, hashlib.new(name, client_key).digest(), _hmac(name, salted, b"Server Key"))


class ScramExchange:
    """One login. `user` is empty until the proof was right; `server_nonce` must be new for each."""

    def __init__(self, find: Callable[[str], Verifier | None], server_nonce: str) -> None:
        self._find, self._server_nonce = find, server_nonce
        self._asked = ""
        self._verifier: Verifier | None = None
        self._nonce = self._messages = ""
        self.user = ""

    def answer(self, token: bytes) -> bytes:
        """The server's message for the client's first, then for its last. Raises ScramError."""
        try:
            text = token.decode()
            return (self._last(text) if self._nonce else self._first(text)).encode()
        except (ValueError, KeyError) as error:
            raise ScramError("not a SCRAM message") from error

    def _first(self, text: str) -> str:
        binding, _, bare = text.split(",", 2)
        fields = _fields(bare)
        if binding != "n":
            raise ScramError("channel binding is not supported")
        self._asked = fields["n"].replace("=2C", ",").replace("=3D", "=")
        self._verifier = self._find(self._asked)
        if self._verifier is None:
            raise ScramError("unknown user")
        self._nonce = fields["r"] + self._server_nonce
        salt = base64.b64encode(self._verifier.salt).decode()
        answer = f"r={self._nonce},s={salt},i={ITERATIONS}"
        self._messages = f"{bare},{answer}"
        return answer

    def _last(self, text: str) -> str:
        bare, _, proof = text.rpartition(",p=")
        fields, verifier = _fields(bare), self._verifier
        if verifier is None or fields["c"] != _NO_BINDING or fields["r"] != self._nonce:
            raise ScramError("not the answer to our message")
        messages = f"{self._messages},{bare}".encode()
        signature = _hmac(verifier.hash_name, verifier.stored_key, messages)
        given = base64.b64decode(proof, validate=True)
        client_key = bytes(a ^ b for a, b in zip(signature, given, strict=True))
        if not hmac.compare_digest(hashlib.new(verifier.hash_name, client_key).digest(), verifier.stored_key):
            raise ScramError("wrong password")
        self.user = self._asked
        final = _hmac(verifier.hash_name, verifier.server_key, messages)
        return f"v={base64.b64encode(final).decode()}"


def _fields(text: str) -> dict[str, str]:
    return {part[0]: part[2:] for part in text.split(",") if part[1:2] == "="}


def _hmac(name: str, key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, name).digest()
