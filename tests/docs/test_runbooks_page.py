"""docs/runbooks.md has a runbook for every alarm, and every runbook was followed by a test."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import ROOT, rows, section, text_of

ALARMS = rows(section(text_of("docs/operations.md"), "Alarms"))
PAGE = text_of("docs/runbooks.md")


def test_every_alarm_links_to_its_runbook_and_every_runbook_has_its_alarm() -> None:
    linked = {}
    for row in ALARMS:
        found = re.fullmatch(r"\[(.+)\]\(runbooks\.md#(.+)\)", row[0])
        assert found, row[0]
        linked[found[1]] = found[2]
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert sorted(linked) == sorted(headings)
    assert linked == {name: name.lower().replace(" ", "-") for name in headings}


def test_every_runbook_says_what_to_see_look_at_and_do_and_when_it_is_over() -> None:
    for name in re.findall(r"^## (.+)$", PAGE, re.MULTILINE):
        said = re.findall(r"\*\*(See|Look at|Do|do|Over)\b", section(PAGE, name))
        assert [word.lower() for word in said] == ["see", "look at", "do", "over"], name


def test_every_runbook_was_followed_by_a_test() -> None:
    tree = ast.parse((ROOT / "tests/faults/test_runbooks.py").read_text(encoding="utf-8"))
    followed = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert {f"test_{name.lower().replace(' ', '_')}" for name in headings} <= followed
