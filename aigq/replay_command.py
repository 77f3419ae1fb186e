"""``aigq replay``: a log into Kafka, or through the same functions offline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.offline_replay import OfflineProgress, offline_replay, write_result
from agents.replay_compare import compare
from agents.serving import open_bundle, rules_of
from aigq.console import err, out, print_json
from aigq.reports import render_differences, render_offline_result, render_replay_summary
from streams.deny_file import read_deny_file
from streams.deny_rules import NO_RULES
from streams.log_delivery import ReplayProgress
from streams.log_producer import parse_time, replay_log
from streams.record_log import local_log
from streams.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: aigq replay week.jsonl.zst --speed 100 · "
        "aigq replay week.jsonl --offline --out lists.jsonl · "
        "aigq replay week.jsonl --offline --expect lists.jsonl"
    )(replay)


def replay(
    log: Annotated[Path, typer.Argument(help="JSONL or Parquet, plain or zstd; - reads standard input.")],
    offline: Annotated[
        bool, typer.Option("--offline", help="No Kafka, no Redis: a virtual clock in this process.")
    ] = False,
    out_file: Annotated[Path | None, typer.Option("--out", help="Offline: write the final lists.")] = None,
    expect: Annotated[
        Path | None,
        typer.Option(help="Offline: compare with lists written before; exit code 1 if they differ."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Offline: write every decision, a line an event.")
    ] = None,
    expect_trace: Annotated[
        Path | None,
        typer.Option(help="The trace written before, to name the first other decision (with --trace)."),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(help="Offline: fill short lists up from this Think mapping, FOLDER or FOLDER/version."),
    ] = None,
    deny: Annotated[
        Path | None,
        typer.Option(help="Offline: deny rules, a term or a rule as JSON a line (`aigq deny list --out`)."),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Times event time, e.g. 100. Default: flat out.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="RFC 3339, e.g. 2017-12-01T00:00:00Z.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="RFC 3339, exclusive.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Keep the progress in this file; the same call goes on from there.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Replay an event log: into the topic, keyed and in event-time order, or offline for tests.

    Offline uses the same functions as the workers and gives the same bytes on every run, so a change can be
    tested against last week's log: write the lists with --out before the change, compare with --expect after.
    """
    if not offline and (out_file or expect or trace or expect_trace or mapping or deny):
        raise typer.BadParameter(
            "--out, --expect, --trace, --expect-trace, --mapping and --deny go with --offline"
        )
    if offline and (speed or resume):
        raise typer.BadParameter("--speed and --resume do not go with --offline")
    bounds = parse_time(start) if start else None, parse_time(end) if end else None
    with local_log(log) as path:
        if offline:
            _offline(path, bounds, out_file, (expect, expect_trace), trace, (mapping, deny), json)
        else:
            _online(path, bounds, speed, resume, json)


def _online(
    path: Path, bounds: tuple[int | None, int | None], speed: float | None, resume: Path | None, json: bool
) -> None:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it floods while the broker is away; we tell
    with _progress() as progress:
        summary = replay_log(
            path,
            load_settings(),
            speed=speed,
            start_ms=bounds[0],
            end_ms=bounds[1],
            resume_file=resume,
            progress=_follow(progress),
        )
    if json:
        print_json(summary.as_dict())
    else:
        out.print(render_replay_summary(summary))


def _offline(
    path: Path,
    bounds: tuple[int | None, int | None],
    out_file: Path | None,
    before: tuple[Path | None, Path | None],
    trace: Path | None,
    beside: tuple[Path | None, Path | None],
    json: bool,
) -> None:
    """`before`: lists and trace of an earlier run. `beside`: a mapping and a deny file."""
    expect, expect_trace = before
    mapping, deny = beside
    denied = NO_RULES if deny is None else read_deny_file(deny)
    settings = load_settings()
    bundle = open_bundle(settings)
    with _progress() as progress:
        result = offline_replay(
            path,
            settings,
            rules_of(settings, bundle.encoder, bundle.name),
            bundle,
            start_ms=bounds[0],
            end_ms=bounds[1],
            trace=trace,
            mapping=mapping,
            denied=denied,
            progress=_follow_offline(progress),
        )
    if out_file is not None:
        write_result(result, out_file)
    differences = (
        compare(result, expect, trace=trace, expect_trace=expect_trace) if expect is not None else []
    )
    if json:
        print_json({**result.as_dict(), "differences": len(differences)})
    else:
        out.print(render_offline_result(result))
    if expect is not None and not json:
        err.print(render_differences(differences, users=len(result.lists)))
    if differences:
        raise typer.Exit(1)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def _follow(progress: Progress) -> Callable[[ReplayProgress], None]:
    task = progress.add_task("replay", total=None)

    def follow(at: ReplayProgress) -> None:
        waiting = f"replay (Kafka is silent, waiting {at.waiting_s:.0f} s)" if at.waiting_s else "replay"
        progress.update(task, completed=at.done, total=at.total, description=waiting)

    return follow


def _follow_offline(progress: Progress) -> Callable[[OfflineProgress], None]:
    tasks = {phase: progress.add_task(phase, total=None) for phase in ("events", "lists")}

    def follow(at: OfflineProgress) -> None:
        progress.update(tasks[at.phase], completed=at.done, total=at.total)

    return follow
