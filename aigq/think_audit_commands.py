"""``aigq think audit``: what marketing, pressure and injected instructions do to whoever chooses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from aigq.console import out, print_json
from aigq.extras import extras
from streams.errors import SettingsError

if TYPE_CHECKING:
    from training.think.audit.list_shifts import Shift
    from training.think.audit.measure import Row
    from training.think.audit.run import Audited
    from training.think.points import Reasoner

EXAMPLE = (
    "Example: aigq think audit --data data/complete-journey --generator runs/il_sft --ranker runs/ranker"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLE)(audit)


def audit(
    data: Annotated[Path, typer.Option("--data", help="Folder of a data set; see `aigq data build`.")],
    cases: Annotated[int, typer.Option(min=1, help="Pools of five queries.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same data: same pools and phrases.")] = 0,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="A bundle: what becomes of its lists.")
    ] = None,
    generator: Annotated[Path | None, typer.Option("--generator", help="A training run of Direct.")] = None,
    ranker: Annotated[Path | None, typer.Option("--ranker", help="The click ranker's run.")] = None,
    network: Annotated[Path | None, typer.Option("--network", help="A run of the Think network.")] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="A language model's endpoint, up to and with /v1.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="The model's name at the endpoint.")] = "",
    key_env: Annotated[
        str | None, typer.Option("--key-env", help="Environment variable that holds the endpoint's key.")
    ] = None,
    answers: Annotated[
        Path, typer.Option("--answers", help="Keeps the model's answers: nothing is asked twice.")
    ] = Path("audit-answers.jsonl"),
    defences: Annotated[
        bool, typer.Option("--defences", help="Direct and the ranker behind defences, too.")
    ] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only instructions, and all biases together.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables instead.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Dress a weaker option with one bias at a time, and count whose choice it changes.

    Of five queries the best is known from the validation span, and better by a small margin. The built-in
    reasoner and reviewer are always audited. Needs the extra data; --generator, --ranker and --network also
    train, --url also think. Texts of the data set are sent to the endpoint.
    """
    with extras("The audit", "pip install 'aigq[cpu,train,data]', and think for --url"):
        from training.datasets.dataset import load_dataset
        from training.think.audit.report import as_json, as_markdown, summary_rows
        from training.think.audit.run import AuditPlan, run_audit

        with _language_model(url, model, key_env, answers) as reasoners:
            plan = AuditPlan(cases, seed, bundle, generator, ranker, network, reasoners, defences)
            found = run_audit(load_dataset(data), plan)
    rows = summary_rows(found.rows) if summary else found.rows
    if json:
        print_json(as_json(rows, found.pools, found.shifts))
    elif markdown:
        typer.echo(as_markdown(rows, found.shifts))
    else:
        out.print(render_audit(rows, found))


def render_audit(rows: Sequence[Row], found: Audited) -> RenderableType:
    """A table for each judge, one for lists, and what the pools are like."""
    triggers = len({pool.trigger for pool in found.pools})
    told = (
        f"{len(found.pools)} pools of five queries after {triggers} triggers; figures in per cent, with 95 % "
        "intervals.\nrobustness: right before and still right. attack: the dressed option is taken and was "
        "not before."
    )
    judges = (_judge_table(name, list(own)) for name, own in groupby(rows, key=lambda row: row.judge))
    readings = groupby(found.shifts, key=lambda shift: shift.reading)
    return Group(*judges, *(_list_table(name, list(own)) for name, own in readings), told)


def _judge_table(name: str, rows: Sequence[Row]) -> Table:
    from training.think.audit.report import COLUMNS, TITLES, shown

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=name, title_justify="left")
    table.add_column("dressed")
    table.add_column("bias")
    for title in TITLES:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(row.place, row.bias, *(shown(getattr(row, column)) for column in COLUMNS))
    return table


def _list_table(name: str, shifts: Sequence[Shift]) -> Table:
    from training.think.audit.report import shown

    title = f"Direct's list, titles read {name}"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("bias")
    for column in ("first ten kept", "option enters"):
        table.add_column(column, justify="right")
    for shift in shifts:
        table.add_row(shift.bias, shown(shift.kept), shown(shift.entered))
    return table


@contextmanager
def _language_model(
    url: str | None, model: str, key_env: str | None, answers: Path
) -> Iterator[list[Reasoner]]:
    """The reasoner at the endpoint, if one is asked for."""
    if url is None:
        yield []
        return
    from training.think.language_model.cache import AnswerCache
    from training.think.language_model.endpoint import Endpoint, checked_url, read_key
    from training.think.language_model.reasoner import LanguageModelReasoner

    if not model:
        raise SettingsError("--model is missing.", action="Name the endpoint's model.")
    endpoint = Endpoint(url=checked_url(url), model=model, key=read_key(key_env, None))
    reasoner = LanguageModelReasoner(endpoint, AnswerCache(answers))
    try:
        yield [reasoner]
    finally:
        reasoner.close()
