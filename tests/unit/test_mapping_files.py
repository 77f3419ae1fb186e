"""A mapping version is believed only when everything in its folder fits together."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.think.mapping_files import LINE_LIMIT_BYTES, Mapping, read_mapping
from agents.think.version_folder import FILE_LIMIT_BYTES, read_manifest
from streams.errors import MappingError
from tests.mapping_folders import write_manifest, write_version

COUNTS = {"mapping.jsonl": 2, "popular.json": 1}
TWO = {"Milk": ["oats", "honey"], "eggs": ["bacon"]}


def read(root: Path) -> Mapping:
    return read_mapping(root, read_manifest(root))


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Other content, with a manifest that fits it."""
    (folder / name).write_bytes(content)
    write_manifest(folder, COUNTS)


LINE = b'{"trigger":"milk","queries":[{"query":"oats","score":0.5}]}\n'
FAULTS: dict[str, Callable[[Path], object]] = {
    "is not there, so no version is named; it has v1": lambda folder: (
        folder.parent / "current.json"
    ).unlink(),
    "current.json: value": lambda folder: (folder.parent / "current.json").write_bytes(b"{"),
    "current.json: version": lambda folder: (folder.parent / "current.json").write_bytes(
        b'{"version":"../x"}'
    ),
    "manifest.json cannot be read": lambda folder: (folder / "manifest.json").unlink(),
    "is of version v2": lambda folder: write_manifest(folder, COUNTS, version="v2"),
    "format_version": lambda folder: write_manifest(folder, COUNTS, format_version=2),
    "does not list popular.json": lambda folder: write_manifest(folder, {"mapping.jsonl": 2}),
    "mapping.jsonl cannot be read": lambda folder: (folder / "mapping.jsonl").unlink(),
    "popular.json cannot be read": lambda folder: (folder / "popular.json").unlink(),
    "mapping.jsonl is not the file": lambda folder: (folder / "mapping.jsonl").write_bytes(LINE),
    "popular.json is not the file": lambda folder: (folder / "popular.json").write_bytes(b"[]"),
    "mapping.jsonl has 2 entries, not 3": lambda folder: write_manifest(
        folder, COUNTS | {"mapping.jsonl": 3}
    ),
    "popular.json has 1 entries, not 2": lambda folder: write_manifest(folder, COUNTS | {"popular.json": 2}),
    "line 2: trigger 'milk' is empty or was there before": lambda folder: rewrite(
        folder, "mapping.jsonl", LINE + LINE.replace(b"milk", b" MILK ")
    ),
    "line 1: trigger '' is empty": lambda folder: rewrite(
        folder, "mapping.jsonl", LINE.replace(b"milk", b" ")
    ),
    "line 2: value": lambda folder: rewrite(folder, "mapping.jsonl", LINE + LINE[:20]),
    "line 2: queries.0.query": lambda folder: rewrite(
        folder, "mapping.jsonl", LINE + LINE.replace(b"milk", b"eggs").replace(b'"oats"', b'""')
    ),
    "popular.json: 0.score": lambda folder: rewrite(
        folder, "popular.json", b'[{"query":"beer","score":"much"}]'
    ),
}


def test_a_sound_version_is_read_line_by_line(tmp_path: Path) -> None:
    write_version(tmp_path, TWO)
    mapping = read(tmp_path)
    assert {e.trigger: [q.query for q in e.queries] for e in mapping.entries()} == TWO
    assert [query.query for query in mapping.popular] == ["beer"]
    assert mapping.manifest.triggers == 2


def test_a_version_may_be_empty(tmp_path: Path) -> None:
    write_version(tmp_path, {}, [])
    mapping = read(tmp_path)
    assert list(mapping.entries()) == []
    assert mapping.popular == ()


@pytest.mark.parametrize("problem", FAULTS)
def test_a_fault_is_named_with_its_place(tmp_path: Path, problem: str) -> None:
    folder = write_version(tmp_path, TWO)
    FAULTS[problem](folder)
    with pytest.raises(MappingError) as caught:
        read(tmp_path)
    assert problem in caught.value.message
    assert "Nothing was changed in Redis" in caught.value.message


def test_the_digest_changes_with_any_file(tmp_path: Path) -> None:
    digests = set()
    for number, (mapping, popular) in enumerate([(TWO, ["a"]), (TWO, ["b"]), ({"milk": ["x"]}, ["a"])]):
        write_version(tmp_path / str(number), mapping, popular)
        digests.add(read_manifest(tmp_path / str(number)).digest)
    assert len(digests) == 3


def test_a_file_that_changes_after_the_check_is_found_out_at_its_end(tmp_path: Path) -> None:
    folder = write_version(tmp_path, TWO)
    mapping = read(tmp_path)
    content = (folder / "mapping.jsonl").read_bytes()
    for other in (content.replace(b"oats", b"nuts"), content + LINE, content[:-5], LINE, b"[]\n", b""):
        (folder / "mapping.jsonl").write_bytes(other)
        with pytest.raises(MappingError, match="not the file"):
            list(mapping.lines())


def test_a_line_is_given_in_normal_form_and_as_it_stands(tmp_path: Path) -> None:
    write_version(tmp_path, {" Crème  BRÛLÉE ": ["sugar"]})
    (line,) = read(tmp_path).lines()
    assert line.trigger == "crème brûlée"
    assert line.value.startswith(b'{"trigger":" Cr') and line.value.endswith(b"}")


def test_a_version_is_named_by_its_folder_alone(tmp_path: Path) -> None:
    write_version(tmp_path, TWO, version="v1")
    write_version(tmp_path, {"tea": ["cake"]}, version="v2")
    assert read_manifest(tmp_path).version == "v2"
    assert read_manifest(tmp_path, "v1").triggers == 2
    with pytest.raises(MappingError, match="no name"):
        read_manifest(tmp_path, "../v1")


def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    write_version(tmp_path, {f"trigger {number}": [f"query {number}"] for number in range(20_000)})
    manifest = read_manifest(tmp_path)
    tracemalloc.start()
    try:
        mapping = read_mapping(tmp_path, manifest)
        count = sum(1 for _ in mapping.lines())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 1_500_000 < (tmp_path / "v1" / "mapping.jsonl").stat().st_size


def test_a_line_without_end_and_a_file_without_end_are_refused_in_little_memory(tmp_path: Path) -> None:
    folder = write_version(tmp_path, {"milk": ["eggs"]})
    (folder / "mapping.jsonl").write_bytes(b'{"trigger":"' + b"x" * LINE_LIMIT_BYTES + b'"}\n')
    write_manifest(folder, {"mapping.jsonl": 1, "popular.json": 1})
    with pytest.raises(MappingError, match="a line of more than"):
        read_mapping(tmp_path, read_manifest(tmp_path))
    (tmp_path / "current.json").write_bytes(b" " * (FILE_LIMIT_BYTES + 1))
    with pytest.raises(MappingError, match="has more than"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/b", "", "a:b", "x" * 65, "\u0661"])
def test_a_version_is_no_path(tmp_path: Path, name: str) -> None:
    write_version(tmp_path, {"milk": ["eggs"]})
    with pytest.raises(MappingError):
        read_manifest(tmp_path, name)
