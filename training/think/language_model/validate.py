"""What of a language model's answer may stand: pure, and no answer makes it fail.

A part that is fine is kept; each part that is not is dropped and counted by its reason:

    truncated          the answer was cut off: its last point is not believed
    shape              a point, query or fact that is not of the asked form
    unknown_line       a line that the history does not have
    length, unprintable, personal, address, steering    a query that is no plain query for goods
    echo               a query that stands in an instruction that a text of the history gives
    trigger            a query that is one of its own triggers
    duplicate          a query that its point has already
    too_many_points, too_many_queries                   more than asked for
    false_fact         a fact that the history does not say
    no_triggers, no_queries                             a point with nothing left

That a query is plain text does not make it right: no evidence, no mapping (training.think.review.decide).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import from_json

from agents.hints.filters import has_fit_length
from streams.personal_data import is_personal
from streams.query_text import normalise_query
from training.think.language_model.answer_schema import FACTS_MAX, POINTS_MAX, AnsweredFact
from training.think.language_model.prompt import is_withheld
from training.think.mining.facts import facts_of_line, rationale_of
from training.think.points import QUERIES_MAX, Fact, History, InterestPoint, Reasoned
from training.think.review.steering import steering

CUT_OFF: Final = "length"  # the finish_reason of an answer that came to its limit
_ADDRESS: Final = re.compile(
    r"[a-z]+://|\bwww\.|\b[a-z0-9-]+\.(com|net|org|io|shop|store|info|biz|app|xyz)\b"
)
_THOUGHT: Final = re.compile(r"\A.*</think>", re.DOTALL)  # some servers leave them in the answer


@dataclass(frozen=True, slots=True)
class Checked:
    """dropped: reason → how many."""

    reasoned: Reasoned
    dropped: dict[str, int]


def checked(history: History, text: str, finish: str) -> Checked:
    """What is left of an answer; `reasoned.problem` says why nothing is. finish: its finish_reason."""
    dropped: Counter[str] = Counter()
    found = _points_in(text)
    if isinstance(found, str) and finish == CUT_OFF:
        found = _points_before_the_cut(text, dropped)
    if isinstance(found, str):
        return Checked(Reasoned(history=history.name, problem=found), {})
    points = [point for raw in found if (point := _point(history, raw, dropped)) is not None]
    dropped["too_many_points"] += len(points[POINTS_MAX:])
    counted = dict(sorted((+dropped).items()))
    kept = tuple(points[:POINTS_MAX])
    problem = "" if kept else _nothing_left(counted)
    return Checked(Reasoned(history=history.name, points=kept, problem=problem), counted)


def _points_in(text: str) -> list[Any] | str:
    """The raw points, or what is wrong with the answer."""
    body = _THOUGHT.sub("", text)
    start, end = body.find("{"), body.rfind("}") + 1
    if start < 0 or end <= start:
        return "The answer holds no JSON object."
    return _points(body[start:end], may_end_early=False)


def _points_before_the_cut(text: str, dropped: Counter[str]) -> list[Any] | str:
    """All but the last, which may be half of what it was to be."""
    body = _THOUGHT.sub("", text)
    found = _points(body[max(body.find("{"), 0) :], may_end_early=True)
    if isinstance(found, str):
        return "The answer is cut off before any point."
    dropped["truncated"] += bool(found)
    return found[:-1]


def _points(json: str, *, may_end_early: bool) -> list[Any] | str:
    try:
        found = from_json(json.encode(errors="replace"), allow_partial=may_end_early)
    except ValueError:
        return "The answer is not JSON."
    points = found.get("points") if isinstance(found, dict) else None
    return points if isinstance(points, list) else 'The answer has no list "points".'


def _nothing_left(dropped: dict[str, int]) -> str:
    if not dropped:
        return "The model finds no interest in the history."
    told = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    return f"Nothing of the answer is left: {told}."


def _point(history: History, raw: Any, dropped: Counter[str]) -> InterestPoint | None:
    """None, with a reason, when triggers or queries are missing."""
    parts = raw if isinstance(raw, dict) else {}
    lines, asked = parts.get("triggers"), parts.get("queries")
    if not isinstance(lines, list) or not isinstance(asked, list):
        dropped["shape"] += 1
        return None
    triggers = _triggers(history, lines, dropped)
    if not triggers:
        dropped["no_triggers"] += 1
        return None
    queries = _queries(history, triggers, asked, dropped)
    if not queries:
        dropped["no_queries"] += 1
        return None
    facts = _facts(history, parts.get("facts", []), dropped)
    return InterestPoint(triggers=triggers, queries=queries, rationale=rationale_of(facts), facts=facts)


def _triggers(history: History, lines: list[Any], dropped: Counter[str]) -> tuple[int, ...]:
    known = {line.index for line in history.lines}
    found: dict[int, None] = {}
    for line in lines:
        if type(line) is not int:
            dropped["shape"] += 1
        elif line not in known:
            dropped["unknown_line"] += 1
        else:
            found[line] = None
    return tuple(found)


def _queries(
    history: History, triggers: Sequence[int], asked: list[Any], dropped: Counter[str]
) -> tuple[str, ...]:
    own = {normalise_query(line.text) for line in history.lines if line.index in set(triggers)}
    told = [_instruction(line.text) for line in history.lines if is_withheld(line.text)]
    found: dict[str, str] = {}
    for query in asked:
        reason = _unfit(query) or _repeated(normalise_query(query), own, told, found)
        if reason:
            dropped[reason] += 1
        else:
            found[normalise_query(query)] = " ".join(query.split())
    return tuple(found.values())


def _unfit(query: Any) -> str:
    """Why a query may not stand, whatever the history; "" if it may."""
    if not isinstance(query, str):
        return "shape"
    text = " ".join(query.split(" ")).strip()
    reasons = {
        "unprintable": not text.isprintable(),
        "length": not has_fit_length(text),
        "personal": is_personal(text),
        "address": bool(_ADDRESS.search(normalise_query(text))),
        "steering": bool(steering(text)),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _repeated(normal: str, own: set[str], told: Sequence[str], found: dict[str, str]) -> str:
    reasons = {
        "length": not normal,
        "trigger": normal in own,
        "echo": any(_holds(text, normal) for text in told),
        "duplicate": normal in found,
        "too_many_queries": len(found) >= QUERIES_MAX,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _instruction(text: str) -> str:
    """From where a text turns from naming goods to giving instructions; a normal form."""
    words = normalise_query(text).split()
    ends = (end for end in range(1, len(words) + 1) if is_withheld(" ".join(words[:end])))
    return " ".join(words[next(ends, 1) - 1 :])


def _holds(text: str, normal: str) -> bool:
    """Whether the text holds the query as whole words."""
    return bool(re.search(rf"(?<!\w){re.escape(normal)}(?!\w)", text))


def _facts(history: History, raw: Any, dropped: Counter[str]) -> tuple[Fact, ...]:
    """The true ones, each once; of lines that the history has."""
    found: dict[Fact, None] = {}
    for one in raw if isinstance(raw, list) else [raw]:
        fact = _fact(history, one)
        if fact is None:
            dropped["false_fact"] += 1
        else:
            found[fact] = None
    return tuple(found)[:FACTS_MAX]


def _fact(history: History, raw: Any) -> Fact | None:
    try:
        said = AnsweredFact.model_validate(raw)
    except ValidationError:
        return None
    line = next((line for line in history.lines if line.index == said.line), None)
    if line is None or is_withheld(line.text):
        return None
    told = facts_of_line(history, line.text)
    return next((fact for fact in told if (fact.kind, fact.value) == (said.kind, said.value)), None)
