"""Personal data in queries is found in any dress, and what shoppers type every day is not taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.hints.bundle import load_lexicon
from streams.personal_data import has_iban_check, has_luhn, is_personal, personal_kind

SEPARATORS = st.sampled_from(["", " ", "-", ".", " - ", "/", "–"])
FULL_WIDTH = str.maketrans("0123456789@", "０１２３４５６７８９＠")
IBANS = ["DE89370400440532013000", "GB29NWBK60161331926819", "FR1420041010050500013M02606", "NO9386011117947"]


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("jo@example.org", "mail"),
        ("gift for JO.DOE+x@mail.example.co.uk", "mail"),
        ("jo ＠ example.org", "mail"),
        ("jo(at)example.org", "mail"),
        ("call +49 171 5550123", "phone"),
        ("(555) 010-1234 5", "phone"),
        ("0171/5550123", "phone"),
        ("+1 555 0123", "phone"),
        ("٠١٧١٥٥٥٠١٢٣٤", "phone"),
        ("4111 1111 1111 1111", "card"),
        ("4111:1111:1111:1111", "card"),
        ("３７８２ ８２２４６３ １０００５", "card"),
        ("iban de89 3704 0044 0532 0130 00 please", "iban"),
        ("4006381333931", "phone"),  # an EAN: its digits do not tell
    ],
)
def test_it_is_found_and_named(query: str, kind: str) -> None:
    assert personal_kind(query) == kind


@pytest.mark.parametrize(
    "query",
    [
        *("9 volt batteries", "2 % milk", "iphone 15 128gb", "v8 juice 12 x 330", "2 liter soda", "no 5"),
        *("i7-12700k rtx 4090 24gb", "ps5 825gb 2 controllers", "5 @ 3.99 each", "a4 paper 500 80g"),
        *("100 x 200 x 300 cm", "2024-05-17", "lego 75192", "size 42", "wd-40 5l", "be 12 pack", "@home"),
    ],
)
def test_ordinary_queries_stay(query: str) -> None:
    assert personal_kind(query) is None


def test_nothing_of_the_shipped_lexicon_is_taken_for_personal() -> None:
    lexicon = load_lexicon(Path("exported_models/complete-journey"))
    assert len(lexicon) > 1_000
    assert [query for query in lexicon if is_personal(query)] == []


def _luhn_digit(body: str) -> str:
    return next(digit for digit in "0123456789" if has_luhn(body + digit))


@given(st.text("0123456789", min_size=12, max_size=18), SEPARATORS, st.booleans())
def test_every_card_is_found_however_it_is_written(body: str, separator: str, wide: bool) -> None:
    digits = body + _luhn_digit(body)
    groups = separator.join(digits[start : start + 4] for start in range(0, len(digits), 4))
    assert is_personal(f"pay with {groups.translate(FULL_WIDTH) if wide else groups} now")


@given(st.sampled_from(IBANS), SEPARATORS.filter(lambda text: text in ("", " ", "-", ".")), st.booleans())
def test_every_iban_is_found_however_it_is_written(number: str, separator: str, wide: bool) -> None:
    groups = separator.join(number[start : start + 4] for start in range(0, len(number), 4))
    assert personal_kind(f"to {groups.translate(FULL_WIDTH) if wide else groups.lower()}") == "iban"


@given(st.sampled_from(IBANS), st.integers(2, 14), st.sampled_from("123456789"))
def test_an_iban_with_one_wrong_digit_has_no_check(number: str, place: int, more: str) -> None:
    digit = number[place]
    if digit.isdigit():
        other = str((int(digit) + int(more)) % 10)
        assert has_iban_check(number.lower())
        assert not has_iban_check((number[:place] + other + number[place + 1 :]).lower())


@given(
    st.lists(
        st.sampled_from(["milk", "2", "%", "volt", "15", "128gb", "x", "pack", "330", "ml", "no.", "v8"]),
        max_size=6,
    )
)
def test_goods_with_a_few_numbers_apart_are_shown(words: list[str]) -> None:
    query = " thing ".join(words)
    assert personal_kind(query) is None


@given(st.text(max_size=80))
def test_any_text_gets_an_answer(text: str) -> None:
    assert personal_kind(text) in (None, "mail", "phone", "card", "iban")
