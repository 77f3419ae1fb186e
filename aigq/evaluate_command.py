"""``aigq evaluate``: all arms on December, beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from aigq.console import err, out, print_json
from aigq.extras import extras
from aigq.served_screen import first_hint_line, served_table
from streams.errors import SettingsError
from streams.think_merge import THINK_PLACES

COLUMNS: Final = {
    "recall@10": "recall\n@10",
    "new_recall@10": "new\nrecall@10",
    "ndcg@10": "nDCG\n@10",
    "recall@3": "recall\n@3",
    "query_hr@30": "Query\nHR@30",
    "cate_hr@30": "Cate\nHR@30",
    "semantic_similarity": "semantic\nsimilarity",
    "unique_categories": "unique\ncategories",
    "coverage@10": "coverage\n@10",
    "uctr@3": "UCTR@3\nsimulated",
}
NARROW: Final = ("recall@10", "new_recall@10", "recall@3", "query_hr@30", "uctr@3")  # below WIDE
WIDE: Final = 130  # characters
PARTS: Final = ("test", "validate")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: aigq evaluate --data data/complete-journey --runs runs")(evaluate)


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of a data set (aigq data build).")],
    runs: Annotated[
        Path, typer.Option(help="Trained arms: RUNS/<arm>, further seeds in RUNS/<arm>-seed<N>.")
    ],
    arms: Annotated[str, typer.Option(help="Names, with commas between. Default: all there are.")] = "",
    tasks: Annotated[str, typer.Option(help="next_basket, rest_of_basket, or both.")] = "",
    part: Annotated[str, typer.Option(help="test (December) or validate (November).")] = "test",
    bundle: Annotated[
        Path | None, typer.Option(help="A bundle's folder: what it serves is judged, too (minutes more).")
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="A Think mapping, FOLDER or FOLDER/version: what it serves, alone and beside the bundle."
        ),
    ] = None,
    think_places: Annotated[
        int, typer.Option(min=0, max=7, help="With both: how many of the places 4 to 10 are Think's.")
    ] = THINK_PLACES,
    draws: Annotated[int, typer.Option(min=1, help="Households are drawn so often for an interval.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of these draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the object there, and its details beside it.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the bundle's figures into its manifest.")
    ] = False,
    page: Annotated[Path | None, typer.Option(help="Write a page there; its text by hand is kept.")] = None,
) -> None:
    """Judge trained arms and baselines on real baskets: task -> arm -> figure -> value, low, high.

    Intervals draw households. UCTR, CTR and the ranker's figures rest on simulated clicks. Baselines count
    up to each basket; the two-tower network is trained once, into RUNS/ebr. Needs the extras cpu,train,data.
    """
    _check_part(part)
    if record and bundle is None:
        raise typer.BadParameter("needs --bundle", param_hint="--record")
    with extras("Evaluation"):
        from training.datasets.dataset import load_dataset
        from training.evaluation.ab_test import Draws
        from training.evaluation.manifest_metrics import record as recorded
        from training.evaluation.report import TASKS, EvaluationConfig
        from training.evaluation.report import evaluate as judged
        from training.evaluation.results_page import write_page
    config = EvaluationConfig(part, _tasks(tasks, TASKS), _names(arms), Draws(draws, seed), think_places)
    found = judged(load_dataset(data), runs, config, bundle, mapping)
    if out_file:
        _write(out_file, found.results)
        _write(details_path(out_file), found.details)
    if record and bundle:
        recorded(bundle, found.results, found.details)
    if page:
        write_page(page, found.results, found.details)
    if json:
        print_json(found.results)
    else:
        _show(found.results, found.details)
    for written in (out_file, page):
        if written:
            err.print(f"Written: {written}", highlight=False, markup=False)


def details_path(results: Path) -> Path:
    """Where the details of a results file stand: results.json, results-details.json."""
    return results.with_name(f"{results.stem}-details{results.suffix}")


def screen_table(task: str, arms: Mapping[str, Mapping[str, Any]], details: Mapping[str, Any]) -> Table:
    """One row per arm; the greatest value of each column in bold. Intervals stand in the JSON."""
    wanted = COLUMNS if out.width >= WIDE else NARROW
    shown = [figure for figure in wanted if any(figure in one for one in arms.values())]
    best = {figure: max(_value(one, figure, -1.0) for one in arms.values()) for figure in shown}
    counts = details["about"]["cases"][task]
    title = f"{task.replace('_', ' ')}: {counts['cases']:,} cases of {counts['households']:,} households"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for figure in shown:
        table.add_column(COLUMNS[figure], justify="right", no_wrap=True)
    for arm, one in arms.items():
        table.add_row(arm, *(_cell(one, figure, best[figure]) for figure in shown))
    return table


def _show(results: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    for task, arms in results.items():
        out.print(screen_table(task, arms, details))
    if "served" in details:
        for task, arms in results.items():
            out.print(served_table(task, arms))
        out.print(first_hint_line(details["served"]["first_hint"]), highlight=False)
    if "ab_test" in details and details["ab_test"]["best_traditional"]:
        out.print(_lift_table(details["ab_test"]))
    if "ranker" in details:
        report = details["ranker"]
        auc, loss = (_number(report[name]) for name in ("auc", "log_loss"))
        out.print(
            f"Ranker, simulated clicks: AUC {auc}, log loss {loss}"
            f" (constant rate: {report['constant_log_loss']:.4f}), calibration error {report['ece']:.4f}",
            highlight=False,
        )


def _lift_table(test: Mapping[str, Any]) -> Table:
    best = test["best_traditional"]
    title = "Simulated A/B test; CTR from the log alone"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(("arm", "UCTR", f"over {best}", "true CTR", "IPS", "SNIPS", "DR")):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for arm, one in test["arms"].items():
        estimates = test.get("off_policy", {}).get(arm, {})
        clicks = [_number(estimates.get(name)) for name in ("true", "ips", "snips", "dr")]
        table.add_row(arm, _number(one["uctr"]), f"{one['lift']['value']:+.1%}", *clicks)
    return table


def _cell(figures: Mapping[str, Any], figure: str, best: float) -> Text:
    if figure not in figures:
        return Text("–")
    value = _value(figures, figure, -1.0)
    return Text(f"{value:.2f}" if value >= 2 else f"{value:.4f}", "bold green" if value == best else "")


def _value(figures: Mapping[str, Any], figure: str, missing: float) -> float:
    return float(figures[figure]["value"]) if figure in figures else missing


def _number(found: Mapping[str, Any] | None) -> str:
    return "–" if not found or found["value"] is None else f"{found['value']:.4f}"


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise SettingsError(f"There is no part {part!r}.", action=f"Take one of: {', '.join(PARTS)}.")


def _tasks(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = _names(text) or known
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"There is no task {unknown[0]!r}.", action=f"Take some of: {', '.join(known)}.")
    return names


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _write(path: Path, value: Any) -> None:
    from training.datasets.whole_files import replaced

    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as unfinished:
        unfinished.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
