"""The value in Redis: its bytes, its schema, its golden fixtures."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import orjson
import pytest

from streams.errors import CodecError
from streams.hint_list import HEAD, HintList, list_id_of
from streams.schema import FOLDER, hint_list_schema, schema_files
from streams.version import Version
from tests.readings import GOLDEN_LISTS
from tests.redis_databases import list_of

ROOT = Path(__file__).parents[2]
LATER = "from-a-later-writer"
EARLIER = "from-an-earlier-writer"
VALIDATOR = jsonschema.Draft202012Validator(hint_list_schema())


@pytest.mark.parametrize("path", GOLDEN_LISTS, ids=lambda path: path.stem)
def test_a_golden_value_is_read_and_fits_the_schema(path: Path) -> None:
    value = path.read_bytes()
    one = HintList.from_json(value)
    VALIDATOR.validate(orjson.loads(value))
    assert one.list_id == list_id_of(one.user, one.version)


@pytest.mark.parametrize(
    "path", [path for path in GOLDEN_LISTS if path.stem not in (LATER, EARLIER)], ids=lambda path: path.stem
)
def test_a_golden_value_is_written_with_the_same_bytes(path: Path) -> None:
    value = path.read_bytes().rstrip(b"\n")
    assert HintList.from_json(value).to_json() == value


def test_there_are_golden_values_for_full_minimal_empty_unicode_and_other_writers_lists() -> None:
    assert {path.stem for path in GOLDEN_LISTS} == {"full", "minimal", "empty", "unicode", LATER, EARLIER}


def test_an_earlier_writer_s_list_knows_one_trigger_and_holds_its_own_hints_alone() -> None:
    (path,) = [path for path in GOLDEN_LISTS if path.stem == EARLIER]
    one = HintList.from_json(path.read_bytes())
    assert (one.triggers, one.latest, one.held) == ((), ("cereal",), {})
    assert {hint.mapping for hint in one.hints} == {""}


def test_unknown_fields_of_a_later_writer_change_nothing_else() -> None:
    by_name = {path.stem: HintList.from_json(path.read_bytes()) for path in GOLDEN_LISTS}
    assert by_name[LATER] == by_name["full"]


@pytest.mark.parametrize("name", sorted(schema_files()))
def test_the_schema_file_is_the_model_s(name: str) -> None:
    committed = (ROOT / FOLDER / name).read_bytes()
    assert committed == schema_files()[name], "run `python -m streams.schema`"


def test_the_version_stands_first_at_a_fixed_place() -> None:
    version = Version(1_512_129_600_000, 7)
    value = list_of("u", "milk", as_of=version.as_of_ms, offset=version.offset).to_json()
    assert value.startswith(HEAD + str(version).encode() + b'"')


def test_text_order_of_versions_is_their_order() -> None:
    versions = [Version(0, 0), Version(0, 10), Version(9, 2), Version(10, 1), Version(10**14, 10**14)]
    assert sorted(map(str, reversed(versions))) == list(map(str, versions))


def test_a_list_id_depends_on_user_and_version_alone() -> None:
    assert list_of("u", "milk").list_id == list_of("u", "bread").list_id
    others = {list_of("v").list_id, list_of("u", as_of=2).list_id, list_of("u", offset=1).list_id}
    assert list_of("u").list_id not in others
    assert len(others) == 3


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b'{"version":"1"}',
        b"\xff",
        list_of("u", "milk").to_json()[:-1],
        list_of("u", "milk").to_json().replace(b'"direct"', b'"guessed"'),
        list_of("u", "milk").to_json().replace(b'"milk"', b'""'),
        list_of("u", "milk").to_json().replace(b'"score":1.0', b'"score":NaN'),
    ],
)
def test_anything_else_is_a_codec_error(value: bytes) -> None:
    with pytest.raises(CodecError):
        HintList.from_json(value)
