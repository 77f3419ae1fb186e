"""`aigq think review` over a folder: all makers' proposals, evidence counted anew, people's answers kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from aigq import think_review_commands
from streams.deny_file import read_deny_file
from streams.errors import DatasetError, DenyRuleError, SettingsError
from tests.themed_shop import themed_dataset
from tests.think_values import decision, evidence, proposal
from training.datasets.complete_journey import DENIED_PATH, load_phrases
from training.datasets.dataset import Dataset
from training.think.mining.mine import PROPOSALS, MiningPlan, mine
from training.think.points import Proposal, read_lines, write_lines
from training.think.review.answer_log import append_answer, read_answers
from training.think.review.checks import Grounds
from training.think.review.corrections import Correction, Second, correct
from training.think.review.decide import decide_all
from training.think.review.decisions import Decision, Verdict
from training.think.review.evidence import recount
from training.think.review.review_grounds import denied_of
from training.think.review.review_pass import read_decisions
from training.think.review.review_session import open_cases
from training.think.versions.build_version import read_reviewed

APP = typer.Typer()
APP.command("version")(lambda: None)
think_review_commands.register(APP)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return themed_dataset(tmp_path_factory.mktemp("review"))


def quiet(done: int, told: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def mined(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("mined")
    mine(data, work, MiningPlan(queries_max=4, histories=5), quiet)
    return work


@pytest.fixture
def work(mined: Path, tmp_path: Path) -> Path:
    """A folder with the mined proposals."""
    shutil.copy(mined / PROPOSALS, tmp_path / PROPOSALS)
    return tmp_path


def review(work: Path, *options: str, keys: Sequence[str] = ()) -> Result:
    typed = "".join(f"{key}\n" for key in keys)
    return CliRunner().invoke(APP, ["review", str(work), *options], input=typed)


def auto(work: Path, data: Dataset, *options: str) -> dict[tuple[str, str], Decision]:
    result = review(work, "--data", str(data.folder), "--auto", *options)
    assert result.exit_code == 0, result.output
    return {one.key: one for one in read_decisions(work)}


def first_of(work: Path) -> Proposal:
    return next(read_lines(work / PROPOSALS, Proposal))


def test_every_proposal_is_decided_once_and_the_summary_counts_them(work: Path, data: Dataset) -> None:
    result = review(work, "--data", str(data.folder), "--auto", "--json")
    told = json.loads(result.stdout)
    decisions = read_decisions(work)
    assert told["decisions"] == len(decisions) == len(list(read_lines(work / PROPOSALS, Proposal)))
    assert sum(told["verdicts"].values()) == len(decisions)
    assert told["verdicts"]["approve"] > 20
    assert told["missing"]["not_denied"] == len(decisions)  # a log's shop gives its own list, or none
    again = review(work, "--data", str(data.folder), "--auto")
    assert "approved" in again.output


def test_what_a_maker_counted_itself_is_not_believed(work: Path, data: Dataset) -> None:
    lies = [
        proposal("milk", "leash", 1.0, makers=("liar",), evidence=evidence(baskets=10**6, households=10**4)),
        proposal("milk", "eggs", 1.0, makers=("liar",), category="dog things", evidence=evidence(baskets=1)),
    ]
    until_ms = first_of(work).evidence.until_ms
    lies = [
        one.model_copy(update={"evidence": one.evidence.model_copy(update={"until_ms": until_ms})})
        for one in lies
        if one.evidence
    ]
    write_lines(work / "proposals-liar.jsonl", lies)
    found = auto(work, data)
    for query in ("leash", "eggs"):
        proved = found["milk", query].proposal.evidence
        assert proved is not None
        plain = recount("milk", query, data.purchases, until_ms=until_ms, days=7, behaviours=data.behaviours)
        assert proved.model_copy(update={"similarity": 0.0, "click": None}) == plain
    assert found["milk", "leash"].verdict == "reject"


def test_all_makers_are_reviewed_alike_and_named_together(work: Path, data: Dataset) -> None:
    first = first_of(work)
    words = {"makers": ("reader",), "evidence": None, "relevance": 1.0, "category": ""}
    told = first.model_copy(update=words)
    alone = proposal("flour", "sprinkles", makers=("reader",), evidence=None)
    write_lines(work / "proposals-reader.jsonl", [told, alone])
    alike = auto(work, data)
    both = alike[first.trigger.casefold(), first.query.casefold()]
    assert both.proposal.makers == ("association", "reader")
    assert both.proposal.evidence == first.evidence
    assert alike["flour", "sprinkles"].proposal.evidence is not None


def test_a_deny_list_rejects_what_holds_its_terms(work: Path, data: Dataset, tmp_path: Path) -> None:
    deny = tmp_path / "deny.txt"
    deny.write_text("# ours\n\n Baby \n")
    found = auto(work, data, "--deny", str(deny))
    denied = [one for key, one in found.items() if "baby" in key[1].split()]
    assert denied
    assert {one.verdict for one in denied} == {"reject"}
    assert all(one.action("not_denied") and not one.missing.count("not_denied") for one in found.values())


def test_the_built_in_data_has_a_deny_list_of_its_own_whose_terms_are_sold(data: Dataset) -> None:
    assert denied_of(data) is None  # a log
    denied = read_deny_file(DENIED_PATH)
    terms = {rule.text for rule in denied.rules}
    assert {"beer", "cigarettes", "condoms"} <= terms
    sold = " | ".join(load_phrases()["phrase"].to_list())
    excepted = {phrase for rule in denied.rules for phrase in rule.excepts}
    assert [term for term in terms | excepted if term not in sold] == []
    assert denied.denying("red wine vinegar") is None
    assert denied.denying("wine coolers") is not None


def test_a_deny_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deny").write_bytes(b"\xff\xfe")
    with pytest.raises(DenyRuleError, match="not UTF-8"):
        read_deny_file(tmp_path / "deny")
    with pytest.raises(DenyRuleError, match="cannot be read"):
        read_deny_file(tmp_path / "nowhere")


def test_answers_stay_over_later_passes_and_edits_get_evidence(work: Path, data: Dataset) -> None:
    found = auto(work, data)
    yes = next(one for one in found.values() if one.approved)
    edit = next(one for one in found.values() if one.proposal.trigger == "milk")
    for answer in (
        correct(yes, "reject", reason="no", reviewer="ann", at_ms=5),
        correct(edit, "reject", edited="dog toys", reviewer="ann", at_ms=6),
    ):
        append_answer(work / "corrections.jsonl", answer)
    for again in (auto(work, data), auto(work, data)):
        assert (again[yes.key].verdict, again[yes.key].by) == ("reject", "person")
        assert again[edit.key].verdict == "reject"
        new = again["milk", "dog toys"]
        assert new.proposal.makers == ("person",)
        assert new.proposal.evidence is not None
        assert len(again) == len(found) + 1


def test_without_a_data_set_what_needs_one_is_named_and_nothing_is_approved(work: Path) -> None:
    assert review(work, "--auto").exit_code == 0
    decisions = read_decisions(work)
    assert {one.verdict for one in decisions} <= {"request_information", "reject"}
    assert {"has_results", "held_out", "not_denied"} <= {name for one in decisions for name in one.missing}
    assert read_reviewed(work).approved == {}


def test_a_folder_without_proposals_says_what_to_do(tmp_path: Path) -> None:
    result = review(tmp_path, "--auto")
    assert isinstance(result.exception, DatasetError)
    assert "aigq think mine" in result.exception.action


@pytest.mark.parametrize(
    ("options", "said"), [((), "WORK is missing"), (("--alignment",), "--data is missing")]
)
def test_what_is_missing_on_the_command_line_is_named(options: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(APP, ["review", *options])
    assert isinstance(result.exception, SettingsError)
    assert said in result.exception.message


def test_an_unknown_choice_of_cases_is_refused(work: Path) -> None:
    assert isinstance(review(work, "--only", "some").exception, SettingsError)


def case(query: str, verdict: Verdict, relevance: float, baskets: int, **fields: Any) -> Decision:
    one = proposal("milk", query, relevance, evidence=evidence(trigger_baskets=baskets))
    return decision(one, verdict).model_copy(update=fields)


CASES = [
    case("rare", "request_information", 0.9, 100),
    case("wide", "request_information", 0.3, 1_000),
    case("approved", "approve", 0.9, 100),
    case("rejected", "reject", 0.9, 100),
    case("changed", "reject", 0.9, 100, by="rules+corrections"),
]


def said_of(one: Decision, second: Second) -> Correction:
    return correct(one, second, reviewer="ann", at_ms=1)


def asked(only: Any, *answers: Correction) -> list[str]:
    return [one.proposal.query for one in open_cases(CASES, answers, only)]


def test_what_most_shoppers_would_see_is_asked_first() -> None:
    assert asked("undecided") == ["wide", "rare"]


def test_each_choice_of_cases_asks_its_own() -> None:
    assert asked("approved") == ["approved"]
    assert set(asked("rejected")) == {"rejected", "changed"}
    assert asked("changed") == ["changed"]
    assert len(asked("all")) == len(CASES)


def test_what_was_answered_is_not_asked_again_and_what_was_skipped_last() -> None:
    wide = CASES[1]
    (open_wide,) = decide_all([wide.proposal], Grounds(), 1)
    assert asked("undecided", said_of(open_wide, "reject")) == ["rare"]
    assert asked("undecided", said_of(open_wide, "skip")) == ["rare", "wide"]


def test_answers_are_written_where_they_are_asked_for(work: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "team.jsonl"
    review(work, "--auto")
    review(work, "--corrections", str(elsewhere), "--reviewer", "bo", keys=["r too odd", "q"])
    (answer,) = read_answers(elsewhere)
    assert (answer.reviewer, answer.reason) == ("bo", "too odd")
    assert not (work / "corrections.jsonl").exists()
