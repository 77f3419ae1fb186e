"""The ways of ``aigq think reason`` in one process: a language model, the network, a look at the question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from aigq.console import out, print_json
from streams.errors import SettingsError, TrainingError
from training.progress import progress
from training.think.language_model.endpoint import Endpoint
from training.think.language_model.spending import Limits

if TYPE_CHECKING:
    from training.think.language_model.cache import AnswerCache
    from training.think.language_model.reasoner import LanguageModelReasoner, Outcome
    from training.think.points import History, Reasoned


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What was asked for, whoever reasons."""

    work: Path
    data: Path | None
    limit: int | None
    json: bool


@dataclass(frozen=True, slots=True)
class Asking:
    """How a language model is asked."""

    endpoint: Endpoint
    limits: Limits
    concurrency: int


def reason_by_language_model(plan: Reasoning, asking: Asking) -> None:
    """Ask, write what was answered and why the rest was not, tell both. Raises TrainingError."""
    from training.think.reasoned_files import read_histories, write_reasoned, write_unanswered

    histories = read_histories(plan.work, plan.limit)
    reasoner = open_reasoner(plan, asking)
    try:
        outcomes = _followed(reasoner, histories)
    finally:
        reasoner.close()
    maker = reasoner.name
    final = [one.reasoned for one in outcomes if one.source in ("asked", "cached")]
    open_ones = [one.reasoned for one in outcomes if one.source not in ("asked", "cached")]
    reasoned = write_reasoned(plan.work, maker, histories, final)
    write_unanswered(plan.work, maker, open_ones)
    told = {"maker": maker, "histories": len(histories), **summary(reasoner, reasoned)}
    tell(plan, {**told, **proposed(plan, maker, histories, reasoned)})
    if reasoner.tally.gave_up:
        raise TrainingError(
            f"The endpoint seems to be away: {reasoner.tally.stopped}.",
            action="See to it, then run the same again: answers so far are kept.",
        )


def reason_by_network(plan: Reasoning, run: Path) -> None:
    """Let the Think network read the histories; writes the same files."""
    from training.datasets.dataset import load_dataset
    from training.think.network.reasoner import load_network_reasoner
    from training.think.reasoned_files import read_histories, write_reasoned

    if plan.data is None:
        raise SettingsError("--run needs --data.", action="Give the data set that the run was trained on.")
    reasoner = load_network_reasoner(run, load_dataset(plan.data))
    histories = read_histories(plan.work, plan.limit)
    answers: list[Reasoned] = []
    with progress("reason", len(histories)) as report:
        for answer in reasoner.points(histories):
            answers.append(answer)
            report(len(answers), f"{sum(len(one.points) for one in answers)} points")
    reasoned = write_reasoned(plan.work, reasoner.name, histories, answers)
    told = {"maker": reasoner.name, "histories": len(histories), **counts_of(reasoned)}
    tell(plan, {**told, **proposed(plan, reasoner.name, histories, reasoned)})


def show_question(plan: Reasoning, asking: Asking) -> None:
    """Print the first history's question, and what all of them would take at most."""
    from training.think.language_model.cache import key_of
    from training.think.language_model.prompt import estimated_tokens, messages
    from training.think.reasoned_files import read_histories

    questions = [messages(history) for history in read_histories(plan.work, plan.limit)]
    cache = open_cache(plan)
    new = [one for one in questions if cache.get(key_of(one, asking.endpoint.settings)) is None]
    tokens = sum(map(estimated_tokens, new))
    longest = len(new) * asking.endpoint.longest_answer
    told = {
        "maker": asking.endpoint.maker,
        "histories": len(questions),
        "requests": len(new),
        "prompt_tokens_estimated": tokens,
        "answer_tokens_at_most": longest,
        "money_at_most": round(asking.limits.cost(tokens, longest), 6),
    }
    if plan.json:
        print_json({**told, "question": questions[0] if questions else []})
        return
    for message in questions[0] if questions else []:
        out.print(Text(f"{message['role']}:", style="bold"), Text(message["content"]), sep="\n")
    out.print(_pairs(told))


def open_reasoner(plan: Reasoning, asking: Asking) -> LanguageModelReasoner:
    """With the folder's answers. Raises TrainingError when the client is not installed."""
    from training.think.language_model.reasoner import LanguageModelReasoner

    return LanguageModelReasoner(asking.endpoint, open_cache(plan), asking.limits, asking.concurrency)


def open_cache(plan: Reasoning) -> AnswerCache:
    """The folder's answers."""
    from training.think.language_model.cache import ANSWERS, AnswerCache

    return AnswerCache(plan.work / ANSWERS)


def summary(reasoner: LanguageModelReasoner, reasoned: Sequence[Reasoned]) -> dict[str, Any]:
    """Counts for people and `--json`."""
    tally, spending = reasoner.tally, reasoner.spending
    return {
        **{source: tally.sources[source] for source in ("asked", "cached", "failed", "left")},
        **counts_of(reasoned),
        "dropped": dict(sorted(tally.dropped.items())),
        "requests": spending.requests,
        "prompt_tokens": spending.prompt_tokens,
        "answer_tokens": spending.answer_tokens,
        "money": round(spending.money, 6),
        "stopped": tally.stopped,
    }


def counts_of(reasoned: Sequence[Reasoned]) -> dict[str, Any]:
    """Of answers: how many, their points, and how many have none, by why."""
    problems = Counter(one.problem.split(":")[0] for one in reasoned if not one.points)
    return {
        "answers": len(reasoned),
        "points": sum(len(one.points) for one in reasoned),
        "without_points": dict(problems),
    }


def tell(plan: Reasoning, told: dict[str, Any]) -> None:
    """Print what was done, and what comes next."""
    if plan.json:
        print_json({"folder": str(plan.work), **told})
        return
    out.print(_pairs(told))
    left = told.get("failed", 0) + told.get("left", 0)
    if left:
        out.print(f"{left} histories have no answer yet; the same command goes on with them.")
    if "proposals" in told:
        out.print(f"Now: aigq think review {escape(str(plan.work))} --auto")


def _followed(reasoner: LanguageModelReasoner, histories: Sequence[History]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with progress("reason", len(histories)) as report:
        for outcome in reasoner.outcomes(histories):
            outcomes.append(outcome)
            report(len(outcomes), _note(reasoner))
    return outcomes


def _note(reasoner: LanguageModelReasoner) -> str:
    tally, spending = reasoner.tally, reasoner.spending
    tokens = spending.prompt_tokens + spending.answer_tokens
    return (
        f"{tally.sources['asked']} asked, {tally.sources['cached']} known, {tally.sources['failed']} failed, "
        f"{tally.points} points, {spending.requests} requests, {tokens} tokens, {spending.money:.2f} spent"
    )


def proposed(
    plan: Reasoning, maker: str, histories: Sequence[History], reasoned: Sequence[Reasoned]
) -> dict[str, Any]:
    """With --data, write the proposals; says how many."""
    if plan.data is None:
        return {}
    from training.datasets.dataset import load_dataset
    from training.think.reasoned_files import write_proposals

    proposals = write_proposals(plan.work, maker, histories, reasoned, load_dataset(plan.data))
    return {"proposals": len(proposals)}


def _pairs(told: dict[str, Any]) -> Text:
    rows = [(name.replace("_", " "), value) for name, value in told.items() if value or value == 0]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {_said(value)}" for name, value in rows]
    return Text("\n".join(lines))


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
