"""Pages hold together: links lead somewhere, shown commands and named files exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import orjson
import pytest
import redis

from streams.records import Source, decode_event
from streams.redis_keys import hints_key
from tests.docs.command_tree import fault_in
from tests.docs.pages import (
    ROOT,
    anchors,
    blocks,
    links,
    name_of,
    pages,
    shown_commands,
    text_of,
    ticked,
    without_blocks,
)
from tests.redis_databases import empty_database, list_of

ROOMS = ("streams", "agents", "training", "aigq", "exported_models", "docker", "tests", "docs")
FILE = re.compile(rf"((?:{'|'.join(ROOMS)})/[\w./-]*)(?::([\w.]+))?")
ours = pytest.mark.parametrize("page", pages(), ids=name_of)


def test_the_readme_is_short() -> None:
    assert len(text_of("README.md").splitlines()) < 150


@ours
def test_every_relative_link_leads_to_a_file_and_heading(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{link}: no such heading"


@ours
def test_every_shown_command_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in shown_commands(page.read_text(encoding="utf-8")):
        if words[0] == "aigq":
            assert not fault_in(words), f"{' '.join(words)}: {fault_in(words)}"
        elif words[0] == "make":
            assert words[1] in targets, f"no target {words[1]}"
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), f"no module {words[2]}"


@ours
def test_every_file_that_is_named_exists(page: Path) -> None:
    for code in ticked(without_blocks(page.read_text(encoding="utf-8"))):
        match = FILE.fullmatch(code)
        if match is None:
            continue
        assert (ROOT / match[1]).exists(), f"{code}: no such file"
        if match[2]:
            assert match[2] in _defined(ROOT / match[1]), f"{code}: not defined there"


@ours
def test_no_page_names_a_place_on_somebodys_machine(page: Path) -> None:
    assert not re.search(r"/(root|work|home)/", page.read_text(encoding="utf-8"))


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        paths = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")))
        waiting += [(page.parent / path).resolve() for path in paths if path]
    assert set((ROOT / "docs").rglob("*.md")) <= reached


def test_the_python_example_of_the_readme_runs(redis_url: str) -> None:
    url = empty_database(redis_url, 3)
    one = list_of("household-17", "milk", "bread")
    with redis.Redis.from_url(url) as client:
        client.rpush(hints_key(one.user), one.to_json())
    (example,) = blocks(text_of("README.md"), "python")
    names: dict[str, object] = {}
    exec(example.replace("redis://127.0.0.1:6379/0", url), names)  # noqa: S102  # our own page
    assert names["shown"] == (("milk", "bread", "gift cards"), one.list_id)


def test_the_event_of_the_tour_is_a_good_event() -> None:
    (example,) = blocks(text_of("docs/tour.md"), "json")
    event = decode_event(orjson.dumps(orjson.loads(example)), {}, Source("t", 0, 0), 1_900_000_000_000)
    assert (event.person, event.text) == ("hh-17", "milk")


def test_every_term_of_the_glossary_is_defined_once() -> None:
    heads = re.findall(r"^- (\*\*.+?\*\*)(?=:)", text_of("docs/glossary.md"), re.MULTILINE)
    terms = [term.lower() for head in heads for term in re.findall(r"\*\*(.+?)\*\*", head)]
    assert len(terms) > 40
    assert sorted(terms) == sorted(set(terms))
    assert len(heads) == len(re.findall(r"^- ", text_of("docs/glossary.md"), re.MULTILINE))


def test_every_decision_says_context_options_decision_and_consequences() -> None:
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [page.name[:4] for page in decisions] == [f"{n:04d}" for n in range(1, len(decisions) + 1)]
    for page in decisions:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:4]}: ")
        for part in ("Context", "Options", "Decision", "Consequences"):
            assert f"**{part}.**" in text, f"{page.name} has no {part}"


def _defined(path: Path) -> set[str]:
    """Names of a module's functions, classes and methods: ``f``, ``C``, ``C.m``, ``m``."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [
                part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            names |= {f"{node.name}.{method}" for method in methods}
    return names
