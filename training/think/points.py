"""What Think's steps hand to one another: histories, interest points, proposals with their evidence.

    history ──reasoner──► interest points ──pooled per trigger──► proposals ──evidence, review──► a version

An interest point is the paper's {T_k → Q_k} (§3.4.2): lines of one history, and the queries they lead to.
Each trigger of T_k is mapped to the whole Q_k and entries are pooled per trigger over all shoppers (§4.2).
All of it is stored as JSON lines, one object a line; unknown fields are an error, so nothing is lost unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import DatasetError
from training.datasets.whole_files import replaced

TEXT_MAX: Final = 200
LINES_MAX: Final = 64
QUERIES_MAX: Final = 10

TriggerKind = Literal["item", "query", "category"]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class HistoryLine(_Part):
    """One behaviour. index: from 1, newest first. days_ago: whole days before the history's time."""

    index: int = Field(ge=1, le=LINES_MAX)
    days_ago: int = Field(ge=0)
    action: Literal["search", "purchase", "view", "click", "add_to_cart"]
    text: Text
    category: str = ""

    def as_text(self) -> str:
        """In the paper's schema (§3.2), with its feature tokens: `<1><2_days_ago><purchase> milk`."""
        when = "today" if self.days_ago == 0 else f"{self.days_ago}_days_ago"
        return f"<{self.index}><{when}><{self.action}> {self.text}"


class History(_Part):
    """What one shopper did in the weeks before `as_of_ms`; no id of theirs. name: of this history alone."""

    name: str
    as_of_ms: int
    lines: tuple[HistoryLine, ...] = Field(max_length=LINES_MAX)


class Fact(_Part):
    """A statement that a log can be asked about; the only stuff that rationales are made of.

    times: the history holds the trigger so often. days: days since it did last. baskets, households: that
    hold both in one basket. later: per cent of the households with both that met the query after the trigger.
    """

    kind: Literal["times", "days", "baskets", "households", "later"]
    trigger: str
    query: str = ""
    value: int


class InterestPoint(_Part):
    """T_k → Q_k. triggers: indexes of lines. queries: best first. facts: what the rationale says."""

    triggers: tuple[int, ...] = Field(min_length=1)
    queries: tuple[Text, ...] = Field(min_length=1, max_length=QUERIES_MAX)
    rationale: str = ""
    facts: tuple[Fact, ...] = ()


class Reasoned(_Part):
    """A reasoner's answer for one history. problem: why there are no points, for people."""

    history: str
    points: tuple[InterestPoint, ...] = ()
    problem: str = ""


class Reasoner(Protocol):
    """Anything that reads histories and writes interest points: counts, a network, a language model."""

    @property
    def name(self) -> str:
        """What proposals name as their maker."""
        ...

    def points(self, histories: Sequence[History]) -> Iterator[Reasoned]:
        """One answer per history, in any order."""
        ...


class Evidence(_Part):
    """What a log says of (trigger, query) before `until_ms`; a test counts each number again.

    baskets: with both. after: pairs of a basket with the trigger and a later one of the same household with
    the query, within `days`. households: with either pair. trigger_baskets, query_baskets, all_baskets: of
    one, of the other, of all. decayed: `baskets` with a half-life of 90 days. low: Wilson's lower bound of
    baskets / trigger_baskets. lift: (baskets / trigger_baskets) / (query_baskets / all_baskets). later: per
    cent of the households with both that met the query after the trigger. newest_days: age of the newest
    basket with both. similarity: cosine of the two embeddings. click: the CTR ranker's mean p̂ for the query
    after the trigger. examples: digests of up to three such baskets, newest first.
    """

    until_ms: int
    days: int
    baskets: int
    after: int
    households: int
    trigger_baskets: int
    query_baskets: int
    all_baskets: int
    decayed: float
    low: float
    lift: float
    later: int
    newest_days: int
    similarity: float
    click: float | None = None
    examples: tuple[str, ...] = ()


class Proposal(_Part):
    """One entry that a version may get. relevance: S_rel, 0 to 1, how strongly the reasoning ties the query
    to the trigger. makers: the reasoners that propose it. category: the query's."""

    trigger: Text
    kind: TriggerKind
    query: Text
    category: str = ""
    relevance: float = Field(ge=0, le=1)
    makers: tuple[str, ...] = Field(min_length=1)
    rationale: str = ""
    evidence: Evidence | None = None


_P = TypeVar("_P", bound=BaseModel)


def write_lines(path: Path, values: Iterable[BaseModel]) -> int:
    """Write the values, one JSON object a line, in one step; returns how many."""
    count = 0
    with replaced(path) as unfinished, unfinished.open("wb") as file:
        for value in values:
            file.write(orjson.dumps(value.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def read_lines(path: Path, kind: type[_P]) -> Iterator[_P]:
    """The values of `write_lines`. Raises DatasetError that names the line."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}).", action="Run the step that writes it first."
        ) from error
    with file:
        for number, line in enumerate(file, 1):
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(str(part) for part in first["loc"]) or "value"
                raise DatasetError(
                    f"{path.name} line {number}: {where}: {first['msg']}.",
                    action="Run the step that writes this file again.",
                ) from error
