"""Who may come in: users with passwords from a file, and one login per connection.

    {"shop": {"password": "…"}, "reports": {"password": "…", "may": {"read": ["hint-outcomes"]}}}

A user without "may" may do everything (see `streams.embedded.rights`). Mechanisms: PLAIN, SCRAM-SHA-256 and
SCRAM-SHA-512.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError

from streams.embedded.codes import Code
from streams.embedded.protocol import Fields
from streams.embedded.rights import Rights
from streams.embedded.scram import HASHES, ScramError, ScramExchange, Verifier, verifier_of
from streams.errors import EmbeddedServerError

PLAIN: Final = "PLAIN"
MECHANISMS: Final = (PLAIN, *HASHES)
SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36
_REFUSED: Final = "Authentication failed"  # says neither which user nor why


class User(BaseModel):
    """One line of the users' file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: SecretStr
    may: Rights | None = None


class Users:
    """All users; SCRAM's verifiers are made when they are first asked for."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users = users
        self._verifier = cache(self._new_verifier)

    @classmethod
    def read(cls, path: Path) -> Users:
        """The users of a file. Raises EmbeddedServerError, without its content."""
        try:
            return cls(TypeAdapter(dict[str, User]).validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            raise EmbeddedServerError(
                f"{path} cannot be read, or is no file of users. Nothing was started.",
                action='Write JSON: {"name": {"password": "…"}}.',
            ) from None  # the cause may quote a password

    def rights_of(self, name: str) -> Rights | None:
        """None: everything."""
        return self._users[name].may

    def has(self, name: str, password: str) -> bool:
        """Whether the user exists and this is the password."""
        user = self._users.get(name)
        known = user.password.get_secret_value() if user else os.urandom(8).hex()
        return hmac.compare_digest(known.encode(), password.encode())

    def verifier(self, mechanism: str, name: str) -> Verifier | None:
        """SCRAM's verifier; None: no such user."""
        return self._verifier(mechanism, name) if name in self._users else None

    def _new_verifier(self, mechanism: str, name: str) -> Verifier:
        return verifier_of(self._users[name].password.get_secret_value(), mechanism, os.urandom(16))


class Login:
    """The login of one connection: `user` once it succeeded; `is_refused` when it did not."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._mechanism = ""
        self._scram: ScramExchange | None = None
        self.user = ""
        self.is_refused = False

    @property
    def rights(self) -> Rights | None:
        """Of the user; None: everything."""
        return self._users.rights_of(self.user)

    def answer(self, api_key: int, version: int, request: Any) -> Fields:
        """SaslHandshake and SaslAuthenticate."""
        if api_key == SASL_AUTHENTICATE:
            return self._authenticate(bytes(request.auth_bytes))
        return self._handshake(request.mechanism, version)

    def _handshake(self, mechanism: str, version: int) -> Fields:
        self.user, self._mechanism = "", mechanism
        code = Code.NONE
        if version == 0:  # its tokens come without a header; nobody needs that since Kafka 1.0
            code = Code.UNSUPPORTED_VERSION
        elif mechanism not in MECHANISMS:
            code = Code.UNSUPPORTED_SASL_MECHANISM
        elif mechanism in HASHES:
            self._scram = ScramExchange(
                lambda name: self._users.verifier(mechanism, name), os.urandom(18).hex()
            )
        self.is_refused = code is not Code.NONE
        return {"error_code": code, "mechanisms": list(MECHANISMS)}

    def _authenticate(self, token: bytes) -> Fields:
        try:
            reply = self._scram_step(token) if self._mechanism in HASHES else self._plain(token)
        except (ScramError, ValueError):
            self.is_refused = True
            return {"error_code": Code.SASL_AUTHENTICATION_FAILED, "error_message": _REFUSED}
        return {"error_code": Code.NONE, "auth_bytes": reply}

    def _plain(self, token: bytes) -> bytes:
        _, name, password = token.decode().split("\0")
        if self._mechanism != PLAIN or not self._users.has(name, password):
            raise ValueError(_REFUSED)
        self.user = name
        return b""

    def _scram_step(self, token: bytes) -> bytes:
        if self._scram is None:
            raise ScramError("no handshake")
        reply = self._scram.answer(token)
        self.user = self._scram.user
        return reply
