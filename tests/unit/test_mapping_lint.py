"""Each thing that can be wrong in a version folder has its name, and all are found at once."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from agents.think.version_folder import read_current
from tests.think_values import build, decision, proposal, work_of
from training.think.versions.lint import lint_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound folder with one version, two triggers and three entries."""
    approved = (("milk", "oats", 0.9), ("milk", "honey", 0.4), ("eggs", "bacon", 0.7))
    work = work_of(tmp_path / "work", *(decision(proposal(*one)) for one in approved))
    build(work, tmp_path / "root", current=True)
    return tmp_path / "root"


def test_a_built_version_has_no_finding(root: Path) -> None:
    assert lint_folder(root) == []


def damaged(root: Path, name: str, old: bytes, new: bytes, *, agree: bool = True) -> None:
    """Other bytes in a file; `agree`: the manifest describes them."""
    folder = root / read_current(root)
    content = (folder / name).read_bytes()
    assert old in content
    (folder / name).write_bytes(content.replace(old, new, 1))
    if agree:
        manifest = orjson.loads((folder / "manifest.json").read_bytes())
        data = (folder / name).read_bytes()
        manifest["files"][name] |= {"sha256": sha256(data).hexdigest(), "bytes": len(data)}
        (folder / "manifest.json").write_bytes(orjson.dumps(manifest))


# Every change makes the content another than its name says, and these that it is not what is proved.
OTHER = {"name", "evidence_other"}
SCORE = {"name", "evidence_score"}
DAMAGES: dict[str, tuple[tuple[str, bytes, bytes], set[str]]] = {
    "a query twice": (("mapping.jsonl", b'"honey"', b'"OATS"'), {*OTHER, "query_twice"}),
    "its own query": (("mapping.jsonl", b'"honey"', b'"Milk"'), {*OTHER, "leads_to_itself"}),
    "a trigger twice": (("mapping.jsonl", b'"eggs"', b'"milk"'), {*OTHER, "not_loadable", "trigger_twice"}),
    "a line that is none": (
        ("mapping.jsonl", b'{"trigger":"milk"', b'{"trigger":3'),
        {*OTHER, "not_loadable", "line"},
    ),
    "control characters": (("mapping.jsonl", b'"honey"', b'"ho\\u0007ney"'), {*OTHER, "text_unprintable"}),
    "a long text": (("mapping.jsonl", b'"honey"', b'"%s"' % (b"h" * 300)), {*OTHER, "text_long"}),
    "a score over 1": (("mapping.jsonl", b'"score":1.0', b'"score":7.0'), {*SCORE, "score"}),
    "a score that is not its parts'": (("mapping.jsonl", b'"score":1.0', b'"score":0.9'), SCORE),
    "a wrong order": (("mapping.jsonl", b'"oats","score":1.0', b'"oats","score":0.1'), {*SCORE, "order"}),
    "an invented lift": (("evidence.jsonl", b'"lift":4.0', b'"lift":9.0'), {"evidence_counts", "name"}),
    "invented counts": (("evidence.jsonl", b'"baskets":20', b'"baskets":70'), {"evidence_counts", "name"}),
    "a line of evidence that is none": (
        ("evidence.jsonl", b'{"trigger":"milk"', b'{"trigger":""'),
        {"evidence_line", "name"},
    ),
    "evidence of another entry": (("evidence.jsonl", b'"bacon"', b'"beans"'), OTHER),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_fault_has_its_name(root: Path, damage: str) -> None:
    (name, old, new), expected = DAMAGES[damage]
    damaged(root, name, old, new)
    assert {one.name for one in lint_folder(root)} == expected


def test_all_faults_are_found_at_once_and_each_kind_is_counted(root: Path) -> None:
    damaged(root, "mapping.jsonl", b'"honey"', b'"OATS"', agree=False)
    damaged(root, "evidence.jsonl", b'"lift":4.0', b'"lift":9.0')
    damaged(root, "evidence.jsonl", b'"lift":4.0', b'"lift":9.0')
    (root / read_current(root) / "notes.txt").write_text("x")
    (root / read_current(root) / "popular.json").unlink()
    found = {one.name: one for one in lint_folder(root)}
    assert found.keys() >= {"not_loadable", "hash", "file_missing", "file_unknown", "query_twice"}
    assert found["evidence_counts"].count == 2
    assert found["file_unknown"].level == "warning"
    assert [one.level for one in lint_folder(root)][-1] == "warning"


def test_a_folder_without_a_version_is_a_finding_not_a_crash(tmp_path: Path) -> None:
    assert [one.name for one in lint_folder(tmp_path)] == ["current"]
    assert [one.name for one in lint_folder(tmp_path, ["v9"])] == ["no_manifest"]
    (tmp_path / "current.json").write_text('{"version":"v9"}')
    assert [one.name for one in lint_folder(tmp_path)] == ["current"]
    (tmp_path / "v9").mkdir()
    (tmp_path / "v9" / "manifest.json").write_text("{")
    assert [one.name for one in lint_folder(tmp_path)] == ["manifest"]
    (tmp_path / "v9" / "manifest.json").write_text("[]")
    assert [one.name for one in lint_folder(tmp_path)] == ["manifest"]
