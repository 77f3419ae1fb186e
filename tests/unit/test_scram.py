"""The server's half of SCRAM, with the exchange of RFC 7677, and with anything at all."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.embedded.logins import SASL_AUTHENTICATE, SASL_HANDSHAKE, Login, User, Users
from streams.embedded.protocol import Fields
from streams.embedded.rights import Rights, refusal
from streams.embedded.scram import ScramError, ScramExchange, Verifier, verifier_of

# RFC 7677, section 3.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
ANSWER = f"r=rOprNGfwEbeRWgbNEkqO{SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
LAST = f"c=biws,r=rOprNGfwEbeRWgbNEkqO{SERVER_NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def find(name: str) -> Verifier | None:
    return verifier_of("pencil", "SCRAM-SHA-256", SALT) if name == "user" else None


def test_the_exchange_of_the_rfc() -> None:
    exchange = ScramExchange(find, SERVER_NONCE)
    assert exchange.answer(FIRST).decode() == ANSWER
    assert exchange.user == ""
    assert exchange.answer(LAST.encode()) == FINAL
    assert exchange.user == "user"


@pytest.mark.parametrize(
    "last",
    [
        LAST.replace("p=d", "p=e"),
        LAST.replace("p=dHzb", "p="),
        LAST.replace("c=biws", "c=cD1="),
        LAST.replace("rOpr", "rOpq"),
        LAST.partition(",p=")[0],
        "",
    ],
)
def test_a_last_message_that_is_not_right_lets_nobody_in(last: str) -> None:
    exchange = ScramExchange(find, SERVER_NONCE)
    exchange.answer(FIRST)
    with pytest.raises(ScramError):
        exchange.answer(last.encode())
    assert exchange.user == ""


def test_a_user_whom_nobody_knows_gets_no_salt() -> None:
    with pytest.raises(ScramError):
        ScramExchange(find, SERVER_NONCE).answer(b"n,,n=other,r=abc")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_refused_and_nothing_else_happens(first: bytes, last: bytes) -> None:
    exchange = ScramExchange(lambda _name: None, SERVER_NONCE)
    for token in (first, last):
        with pytest.raises(ScramError):
            exchange.answer(token)
    assert exchange.user == ""


class Request:
    """What a decoded SASL request has."""

    def __init__(self, mechanism: str = "", auth_bytes: bytes = b"") -> None:
        self.mechanism, self.auth_bytes = mechanism, auth_bytes


def code_of(fields: Fields) -> int:
    return int(fields["error_code"])


@given(st.sampled_from(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "", "OTHER"]), st.binary(max_size=60))
def test_any_token_in_any_login_is_refused(mechanism: str, token: bytes) -> None:
    login = Login(Users({"user": User.model_validate({"password": "pencil"})}))
    login.answer(SASL_HANDSHAKE, 1, Request(mechanism))
    assert code_of(login.answer(SASL_AUTHENTICATE, 1, Request(auth_bytes=token)))
    assert login.is_refused
    assert login.user == ""


def test_plain_needs_its_own_handshake_and_the_right_password() -> None:
    users = Users({"user": User.model_validate({"password": "pencil"})})
    for mechanism, password, comes_in in (
        ("PLAIN", b"pencil", True),
        ("PLAIN", b"pen", False),
        ("SCRAM-SHA-512", b"pencil", False),
        ("", b"pencil", False),
    ):
        login = Login(users)
        if mechanism:
            login.answer(SASL_HANDSHAKE, 1, Request(mechanism))
        login.answer(SASL_AUTHENTICATE, 1, Request(auth_bytes=b"\0user\0" + password))
        assert (login.user == "user") is comes_in


class Group:
    group_id = "shop.aigq-hints"


@pytest.mark.parametrize(
    ("names", "allowed"),
    [(("shop.aigq-hints",), True), (("shop.*",), True), (("*",), True), (("shop.aigq",), False), ((), False)],
)
def test_a_name_is_itself_or_a_prefix_with_a_star(names: tuple[str, ...], allowed: bool) -> None:
    assert (refusal(Rights(group=names), 11, Group()) is None) is allowed
    assert refusal(None, 11, Group()) is None
