"""Whether a query tells who somebody is: a mail address, a phone, card or account number. Pure.

    mail    something@something.letters; also "(at)", and full-width characters
    iban    a country of ISO 13616, its length, and the remainder 1 modulo 97
    card    13 to 19 digits with Luhn's checksum, whatever punctuation stands between them
    phone   9 digits and more with the usual punctuation between them; 7 and more after a plus or 00

Texts are looked at after NFKC, without unseen characters, with every script's digits as ASCII. A bare number
of 9 digits and more is taken for a phone number even if its check digit makes it an EAN: the digits do not
tell which it is, and nobody is helped by an EAN as a hint. "9 volt batteries", "2 % milk" and "iphone 15
128gb" stay. Names and street addresses are not found. Ours; the paper is silent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

from streams.judged_text import judged

Kind = Literal["mail", "iban", "card", "phone"]

CACHE_SIZE: Final = 65_536
CARD_DIGITS: Final = range(13, 20)
# ISO 13616: length of an account number by country.
_COUNTRIES: Final = (
    "ad24 ae23 al28 at20 az28 ba20 be16 bg22 bh22 bi27 br29 by28 ch21 cr22 cy28 cz24 "
    "de22 dj27 dk18 do28 ee20 eg29 es24 fi18 fk18 fo18 fr27 gb22 ge22 gi23 gl18 gr27 "
    "gt28 hn28 hr21 hu28 ie22 il23 iq23 is26 it27 jo30 kw30 kz20 lb28 lc32 li21 lt20 "
    "lu20 lv21 ly25 mc27 md24 me22 mk19 mn20 mr27 mt31 mu30 ni28 nl18 no15 om23 pk24 "
    "pl28 ps29 pt25 qa29 ro24 rs22 ru33 sa24 sc31 sd18 se24 si19 sk24 sm27 so23 st25 "
    "sv28 tl23 tn24 tr26 ua29 va22 vg24 xk20 ye30 "
)
_IBAN_LENGTHS: Final = {code: int(size) for code, size in re.findall(r"([a-z]{2})(\d\d)", _COUNTRIES)}
_BETWEEN: Final = r"[\s().+/_,\-‐-―−·]{0,3}"
_MAIL = re.compile(r"[^\s@]\s?(?:@|\(at\)|\[at\])\s?[^\s@]+\.[^\W\d_]{2,}")
_PHONE = re.compile(rf"(?:\d{_BETWEEN}){{9}}|(?:\+|(?<!\d)00)\s?(?:\d{_BETWEEN}){{7}}")
_DIGIT_RUN = re.compile(r"\d(?:[\W_]{0,5}\d){12,}")
_IBAN_HEAD = re.compile(r"(?<![^\W_])[a-z]{2}[\s.\-]?\d[\s.\-]?\d")


def is_personal(query: str) -> bool:
    """Whether the query holds any of it.

    >>> is_personal("jo@example.org"), is_personal("+49 (171) 555-0123"), is_personal("9 volt batteries")
    (True, True, False)
    """
    return personal_kind(query) is not None


@lru_cache(CACHE_SIZE)
def personal_kind(query: str) -> Kind | None:
    """What it holds; None: nothing.

    >>> personal_kind("4111-1111-1111-1111"), personal_kind("DE89 3704 0044 0532 0130 00")
    ('card', 'iban')
    """
    text = _with_ascii_digits(judged(query))
    if _MAIL.search(text):
        return "mail"
    if not any(one.isdigit() for one in text):
        return None
    if _holds_iban(text):
        return "iban"
    if any(_is_card(run) for run in _digit_runs(text)):
        return "card"
    return "phone" if _PHONE.search(text) else None


def has_luhn(digits: str) -> bool:
    """ISO/IEC 7812: the last digit checks the others.

    >>> has_luhn("4111111111111111"), has_luhn("4111111111111112")
    (True, False)
    """
    values = [int(one) for one in reversed(digits)]
    return sum(values[::2] + [sum(divmod(2 * one, 10)) for one in values[1::2]]) % 10 == 0


def has_iban_check(letters: str) -> bool:
    """ISO 7064: the number, its head moved to the end and letters as 10 to 35, leaves 1 modulo 97.

    >>> has_iban_check("gb29nwbk60161331926819"), has_iban_check("gb29nwbk60161331926818")
    (True, False)
    """
    return int("".join(str(int(one, 36)) for one in letters[4:] + letters[:4])) % 97 == 1


def _with_ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(one, one)) for one in text)


def _digit_runs(text: str) -> Iterator[str]:
    return (re.sub(r"\D", "", found.group()) for found in _DIGIT_RUN.finditer(text))


def _is_card(digits: str) -> bool:
    return len(digits) in CARD_DIGITS and has_luhn(digits)


def _holds_iban(text: str) -> bool:
    return any(_is_iban_at(text, found.start()) for found in _IBAN_HEAD.finditer(text))


def _is_iban_at(text: str, start: int) -> bool:
    letters = re.sub(r"[\s.\-_/]", "", text[start:])
    number = letters[: _IBAN_LENGTHS.get(letters[:2], 0)]
    is_whole = len(number) == _IBAN_LENGTHS.get(letters[:2]) and number.isascii() and number.isalnum()
    return is_whole and has_iban_check(number)
