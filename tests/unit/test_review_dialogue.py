"""`aigq think review` with a person: accept, edit, reject with a reason, skip, quit, go on.

On a pipe and on a terminal, where texts of others do nothing but stand there.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from aigq import think_review_commands
from streams.harmless_text import harmless
from tests.think_values import evidence, proposal
from training.think.points import write_lines
from training.think.review.answer_log import read_answers
from training.think.review.review_pass import read_decisions

APP = typer.Typer()
APP.command("version")(lambda: None)
think_review_commands.register(APP)
EVIL = "oats\x1b[2J\x1b]0;owned\x07\u202e!"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Three undecided proposals: without a data set no held-out period is there. Asked in this order."""
    write_lines(
        tmp_path / "proposals-reader.jsonl",
        [
            proposal("milk", "oats", 0.9),
            proposal("milk", "honey", 0.6),
            proposal("milk", "cocoa", 0.3, rationale=f"since {EVIL}"),
        ],
    )
    return tmp_path


def review(work: Path, *keys: str, options: Sequence[str] = ()) -> Result:
    typed = "".join(f"{key}\n" for key in keys)
    result = CliRunner().invoke(APP, ["review", str(work), *options], input=typed)
    assert result.exception is None, result.output
    return result


def verdicts(work: Path) -> dict[str, str]:
    return {one.proposal.query: one.verdict for one in read_decisions(work)}


def test_answers_become_decisions(work: Path) -> None:
    result = review(work, "a fits well", "r", "not our style", "s", options=("--reviewer", "ann"))
    assert verdicts(work) == {"oats": "approve", "honey": "reject", "cocoa": "request_information"}
    reasons = {one.proposal.query: one.reason for one in read_decisions(work)}
    assert reasons["oats"] == "ann: fits well."
    assert reasons["honey"] == "ann: not our style."
    assert result.output.index("oats") < result.output.index("honey") < result.output.index("cocoa")
    assert "1 approved, 1 rejected, 1 undecided" in " ".join(result.output.split())


def test_each_screen_shows_evidence_checks_factors_and_what_is_missing(work: Path) -> None:
    shown = review(work, "q").output
    for text in (
        "20 baskets with both",
        "4.00 times chance",
        "held_out",
        "not run",
        "supported",
        "undecided",
    ):
        assert text in shown
    assert "3 left for later." in shown


def test_after_quitting_the_review_goes_on_where_it_stopped(work: Path) -> None:
    review(work, "a", "q")
    shown = review(work, "r no", "q").output
    assert "1/2" in shown
    assert verdicts(work) == {"oats": "approve", "honey": "reject", "cocoa": "request_information"}
    review(work, "a")
    assert verdicts(work)["cocoa"] == "approve"
    assert len(read_answers(work / "corrections.jsonl")) == 3


def test_the_end_of_the_input_loses_nothing(work: Path) -> None:
    review(work, "a")
    assert verdicts(work)["oats"] == "approve"
    assert len(read_answers(work / "corrections.jsonl")) == 1


def test_what_was_skipped_is_asked_again_last(work: Path) -> None:
    review(work, "s", "q")
    shown = review(work, "q").output
    assert "honey" in shown
    review(work, "a", "a", "r no")
    assert verdicts(work)["oats"] == "reject"


def test_an_edit_puts_another_query_in_its_place(work: Path) -> None:
    review(work, "e oatmeal", "q")
    assert verdicts(work)["oats"] == "reject"
    assert verdicts(work)["oatmeal"] == "request_information"  # approved, but nobody has counted it yet
    (edited,) = [one for one in read_decisions(work) if one.proposal.query == "oatmeal"]
    assert {"baskets", "households"} <= set(edited.missing)


def test_a_rejection_without_a_reason_and_a_wrong_key_are_asked_again(work: Path) -> None:
    shown = review(work, "r", "", "x", "?", "r tastes odd", "q").output
    assert "A rejection needs a reason" in shown
    assert "Type one of these letters" in shown
    (answer,) = read_answers(work / "corrections.jsonl")
    assert answer.reason == "tastes odd"


@pytest.mark.parametrize("edit", ["milk", "OATS", "x" * 201, "jo@example.org", "a\x07b"])
def test_an_edit_that_could_not_stand_is_refused_with_its_obstacle(work: Path, edit: str) -> None:
    assert "Not possible" in review(work, f"e {edit}", "q").output
    assert read_answers(work / "corrections.jsonl") == []


def test_nobody_can_accept_what_has_no_evidence(tmp_path: Path) -> None:
    write_lines(tmp_path / "proposals-reader.jsonl", [proposal("milk", "oats", evidence=None)])
    shown = review(tmp_path, "a", "q").output
    assert "Not possible: not run: baskets, households." in shown
    assert verdicts(tmp_path) == {"oats": "request_information"}


def test_a_rejected_entry_can_be_looked_at_and_accepted_but_not_a_forbidden_one(tmp_path: Path) -> None:
    thin = proposal("milk", "honey", evidence=evidence(households=1))
    write_lines(tmp_path / "proposals-reader.jsonl", [proposal("egg", "eggs"), thin])
    review(tmp_path, "a they differ here", "q", options=("--only", "rejected"))
    assert verdicts(tmp_path)["eggs"] == "approve"
    assert "Not possible" in review(tmp_path, "a", "q", options=("--only", "rejected")).output
    assert verdicts(tmp_path)["honey"] == "reject"


def test_proposals_that_came_later_are_told_of(work: Path) -> None:
    review(work, "q")
    write_lines(work / "proposals-late.jsonl", [proposal("milk", "tea")])
    assert "1 proposals came after the last review" in " ".join(review(work, "q").output.split())
    review(work, options=("--auto",))
    assert "tea" in verdicts(work)


def test_json_comes_alone_on_standard_output(work: Path) -> None:
    result = CliRunner().invoke(APP, ["review", str(work), "--json"], input="a\nq\n")
    assert result.stdout.startswith("{")
    assert result.stdout.count("\n") == 1


def test_harmless_text_shows_what_would_act() -> None:
    assert harmless("salsa\x1b[2J\u202e\u2028!") == r"salsa\x1b[2J\u202e\u2028!"
    assert harmless("crème 🍓 [bold]") == "crème 🍓 [bold]"


RUN = "from tests.unit.test_review_dialogue import APP; APP()"


def test_on_a_terminal_escapes_in_texts_of_others_do_nothing(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "proposals-reader.jsonl",
        [
            proposal(f"milk {EVIL}", "oats [bold red]x[/]", rationale=EVIL, makers=(EVIL,), category=EVIL),
            proposal("milk", EVIL),
        ],
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", RUN, "review", str(tmp_path), "--only", "all"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "200"},
    ) as program:
        os.close(theirs)
        os.write(ours, b"r no\nq\n")
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert program.returncode == 0, shown
    for act in (b"\x1b[2J", b"\x1b]0;", b"\x07", "\u202e".encode()):
        assert act not in shown, shown
    assert rb"\x1b[2J\x1b]0;owned\x07\u202e!" in shown
    assert b"oats [bold red]x[/]" in shown
