"""People's answers: kept as conflicts, never lost, applied to their case, and never against a ban."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from streams.deny_file import terms
from streams.deny_rules import DenyRules
from streams.errors import DatasetError
from tests.think_values import OtherPeriod, evidence, proposal
from training.think.points import Proposal
from training.think.review.answer_log import append_answer, read_answers
from training.think.review.checks import Grounds
from training.think.review.corrections import Conflict, Correction, apply, conflict_of, correct, latest
from training.think.review.decide import decide_all
from training.think.review.decisions import Decision

BEER = DenyRules(terms(["beer"]))
GROUNDS = Grounds(results=lambda query: query != "unknown thing", denied=BEER, held_out=OtherPeriod())


def decided(one: Proposal, grounds: Grounds = GROUNDS) -> Decision:
    (decision,) = decide_all([one], grounds, at_ms=1)
    return decision


def said(decision: Decision, second: str = "reject", at_ms: int = 5, **fields: str) -> Correction:
    verdict = {"approve": "approve", "reject": "reject", "skip": "skip"}[second]
    return correct(decision, verdict, reviewer="ann", at_ms=at_ms, **fields)


OATS = decided(proposal("milk", "oats"))
UNKNOWN = decided(proposal("milk", "unknown thing"))
OPEN = decided(proposal("milk", "oats"), replace(GROUNDS, held_out=None))


def test_an_answer_that_agrees_leaves_no_conflict() -> None:
    assert conflict_of(OATS, "approve") is None
    assert conflict_of(OATS, "skip") is None


def test_a_conflict_names_the_checks_that_were_skipped() -> None:
    assert conflict_of(OPEN, "reject") == Conflict(kind="skipped_action", names=("held_out",))


def test_a_conflict_names_the_factors_that_did_not_count_enough_heaviest_first() -> None:
    low = decided(
        proposal("milk", "oats", evidence=evidence(low=0.051, similarity=0)),
        replace(GROUNDS, held_out=OtherPeriod(baskets=6)),
    )
    assert low.verdict == "reject"
    assert conflict_of(low, "approve") == Conflict(kind="misweighted_factor", names=("holds_up", "supported"))


def test_a_conflict_without_a_factor_for_it_is_knowledge_that_stands_in_no_evidence() -> None:
    assert all(factor.value > 0 for factor in OATS.factors if factor.weight)
    assert conflict_of(OATS, "reject") == Conflict(kind="missed_evidence")


@pytest.mark.parametrize(
    "one",
    [
        proposal("milk", "beer"),
        proposal("milk", "jo@example.org"),
        proposal("milk", "oats", evidence=evidence(households=1)),
        proposal("milk", "oats", evidence=None),
    ],
)
def test_nobody_can_approve_what_is_denied_personal_or_unproved(one: Proposal) -> None:
    decision = decided(one)
    with pytest.raises(ValueError, match=r"not_denied|not_personal|households|not run"):
        correct(decision, "approve", reviewer="ann", at_ms=1)
    assert said(decision, "reject").second == "reject"


def test_an_answer_overrules_the_machine_and_says_who_and_why() -> None:
    assert UNKNOWN.verdict == "reject"
    (approved,) = apply([UNKNOWN], [said(UNKNOWN, "approve", reason="we sell it now")])
    assert (approved.verdict, approved.by, approved.reason) == ("approve", "person", "ann: we sell it now.")
    assert apply([OATS], [said(OATS)])[0].verdict == "reject"


def test_the_last_answer_counts_and_a_later_skip_undoes_none() -> None:
    no, yes, later = said(OATS, at_ms=5), said(OATS, "approve", at_ms=6), said(OATS, "skip", at_ms=7)
    assert apply([OATS], [no, yes, later])[0].verdict == "approve"
    assert apply([OATS], [yes, no])[0].verdict == "reject"
    assert apply([OATS], [later]) == [OATS]


def test_who_edits_a_query_rejects_it_and_approves_the_new_one() -> None:
    edit = said(OATS, edited="rolled oats", reason="as we call it")
    answers = latest([edit])
    assert answers["milk", "oats"].second == "reject"
    assert (answers["milk", "rolled oats"].second, answers["milk", "rolled oats"].edited) == ("approve", None)


def test_an_earlier_approval_does_not_pass_a_ban_that_came_later_and_says_so_once() -> None:
    yes = said(OATS, "approve")
    now = decided(proposal("milk", "oats"), replace(GROUNDS, denied=DenyRules(terms(["oats"]))))
    (once,) = apply([now], [yes])
    assert once.verdict == "reject"
    assert "ann accepted it, but not_denied: denied." in once.reason
    assert apply([once], [yes]) == [once]


def test_each_answer_stands_in_the_file_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    given = [said(OATS, reason="Ⓡeason\n\x1b[2J"), said(UNKNOWN, "skip"), said(OPEN, "approve", at_ms=9)]
    assert read_answers(path) == []
    for answer in given:
        append_answer(path, answer)
    assert read_answers(path) == given
    assert len({answer.id for answer in given}) == 3


@pytest.mark.parametrize("torn", [b"{", b'{"id":"x","trigger":"mil', "\u00e9".encode()[:1]])
def test_a_line_that_a_crash_tore_is_not_read_and_the_next_answer_takes_its_place(
    tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "corrections.jsonl"
    append_answer(path, said(OATS))
    with path.open("ab") as file:
        file.write(torn)
    assert read_answers(path) == [said(OATS)]
    append_answer(path, said(UNKNOWN))
    assert read_answers(path) == [said(OATS), said(UNKNOWN)]


def test_a_whole_line_that_is_no_answer_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    append_answer(path, said(OATS))
    with path.open("ab") as file:
        file.write(b'{"id": 3}\n')
    before = path.read_bytes()
    with pytest.raises(DatasetError, match="line 2 is no correction"):
        read_answers(path)
    assert path.read_bytes() == before


def test_answers_that_cannot_be_written_are_told_and_earlier_ones_stay(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="earlier answers are kept"):
        append_answer(tmp_path / "no folder" / "corrections.jsonl", said(OATS))


WRITER = """
import sys
from pathlib import Path
from tests.unit.test_review_corrections import OATS, said
from training.think.review.answer_log import append_answer
for at_ms in range(100_000):
    append_answer(Path(sys.argv[1]), said(OATS, at_ms=at_ms, reason="x" * 3000))
    print(at_ms, flush=True)
"""


def test_a_killed_review_has_lost_no_answer_that_it_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        confirmed = [int(writer.stdout.readline()) for _ in range(20)]
        time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
        confirmed += [int(line) for line in writer.stdout.read().splitlines()]
    kept = [answer.at_ms for answer in read_answers(path)]
    assert kept[: len(confirmed)] == confirmed == list(range(len(confirmed)))
    append_answer(path, said(UNKNOWN))
    assert [answer.at_ms for answer in read_answers(path)] == [*kept, 5]
