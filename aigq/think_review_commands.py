"""``aigq think review``: no evidence, no mapping; a machine proposes, checks decide, people overrule."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aigq.console import err, out, print_json
from aigq.extras import extras
from aigq.review_dialogue import Dialogue
from aigq.review_screen import render_alignment, render_summary
from streams.deny_file import read_deny_file
from streams.errors import SettingsError

if TYPE_CHECKING:
    from training.think.review.corrections import Correction, Second
    from training.think.review.decisions import Decision
    from training.think.review.review_pass import Reviewing

EXAMPLES = (
    "Examples: aigq think review think/work --data data/complete-journey --auto · "
    "aigq think review think/work --only rejected · "
    "aigq think review --alignment --data data/complete-journey"
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for. answers: the file of corrections."""

    work: Path
    answers: Path
    data: Path | None
    deny: Path | None
    auto: bool
    only: str
    reviewer: str
    json: bool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(review)


def review(
    work: Annotated[Path | None, typer.Argument(help="Folder with proposals-*.jsonl.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The data set: lexicon, categories, a held-out period.")
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Decide all by machine; ask nobody.")] = False,
    deny: Annotated[
        Path | None,
        typer.Option("--deny", help="Denied terms, one a line. Default: ours, for the built-in data."),
    ] = None,
    corrections: Annotated[
        Path | None, typer.Option("--corrections", help="Answers of people. Default: WORK/corrections.jsonl.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="What is asked: undecided, approved, rejected, changed or all.")
    ] = "undecided",
    reviewer: Annotated[str, typer.Option(help="Who answers; stands in the corrections.")] = "person",
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Print how often reviews agree with a SIMULATED reviewer.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of --alignment.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Check every proposal, decide by what the checks found, then ask a person about what is open.

    Writes WORK/decisions.jsonl: approve, reject, or request_information with the checks that were not run.
    Each answer is appended to the corrections at once; similar cases follow them from the next pass on. Stop
    at any time and go on later. Without --data, checks that need a log are missing. Needs the extra data.
    """
    with extras("Reviewing", "pip install 'aigq[data]'"):
        if alignment:
            _print_alignment(_needed(data, "--data"), seed, json=json)
            return
        folder = _needed(work, "WORK")
        answers = corrections or folder / "corrections.jsonl"
        _review(_Plan(folder, answers, data, deny, auto, only, reviewer, json))


def _review(plan: _Plan) -> None:
    from training.think.review.answer_log import read_answers
    from training.think.review.review_pass import (
        answered,
        proposals_in,
        read_decisions,
        reviewed,
        summary,
        undecided,
        write_decisions,
    )
    from training.think.review.review_session import ONLY

    if plan.only not in ONLY:
        raise SettingsError(f"--only {plan.only} is unknown.", action=f"Take one of {', '.join(ONLY)}.")
    answers = read_answers(plan.answers)
    decisions = [] if plan.auto else read_decisions(plan.work)
    have = _at_hand(plan, decisions)
    if not decisions:
        decisions = reviewed(proposals_in(plan.work), answers, have, _now_ms())
        write_decisions(plan.work, decisions)
    elif later := undecided(proposals_in(plan.work), decisions):
        err.print(f"{later:,} proposals came after the last review: check them with --auto, then go on here.")
    try:
        if not plan.auto:
            _ask(plan, answered(decisions, answers, have, _now_ms()), answers, have)
    finally:
        if not plan.auto:
            decisions = answered(decisions, read_answers(plan.answers), have, _now_ms())
            write_decisions(plan.work, decisions)
    told = summary(decisions)
    if plan.json:
        print_json({"folder": str(plan.work), **told})
        return
    out.print(render_summary(told, str(plan.work)))


def _ask(plan: _Plan, decisions: list[Decision], answers: list[Correction], have: Reviewing) -> None:
    from training.think.review.answer_log import append_answer
    from training.think.review.corrections import correct
    from training.think.review.review_session import ONLY, edit_problem, open_cases

    def answer(decision: Decision, second: Second, reason: str, edited: str | None) -> Correction:
        return correct(
            decision, second, reason=reason, edited=edited, reviewer=plan.reviewer, at_ms=_now_ms()
        )

    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    only = next(one for one in ONLY if one == plan.only)
    dialogue = Dialogue(
        err if plan.json else out,
        answer,
        lambda decision, query: edit_problem(decision, query, have),
        lambda correction: append_answer(plan.answers, correction),
    )
    dialogue.ask(open_cases(decisions, answers, only))


def _at_hand(plan: _Plan, decisions: list[Decision]) -> Reviewing:
    """What --data and --deny give."""
    from training.think.review.checks import Grounds
    from training.think.review.review_grounds import denied_of, reviewing
    from training.think.review.review_pass import Reviewing, proposals_in

    denied = None if plan.deny is None else read_deny_file(plan.deny)
    if plan.data is None:
        return Reviewing(Grounds(denied=denied))
    from training.datasets.dataset import load_dataset

    data = load_dataset(plan.data)
    proposals = [one.proposal for one in decisions] or proposals_in(plan.work)
    return reviewing(data, proposals, denied_of(data) if denied is None else denied)


def _print_alignment(data: Path, seed: int, *, json: bool) -> None:
    from training.datasets.dataset import load_dataset
    from training.progress import progress
    from training.think.review.alignment import STEPS, alignment

    with progress("alignment", STEPS) as report:
        found = alignment(load_dataset(data), seed, report)
    if json:
        print_json(asdict(found))
        return
    out.print(render_alignment(found))


def _needed(path: Path | None, name: str) -> Path:
    if path is None:
        raise SettingsError(f"{name} is missing.", action="See: aigq think review --help")
    return path


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
