"""``aigq think mine``: what a data set's shoppers did becomes histories, reference points, proposals."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from aigq.console import out, print_json
from aigq.extras import extras

EXAMPLE = "Example: aigq think mine --data data/complete-journey --ranker runs/ranker --out think/work"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLE)(mine)


def mine(
    data: Annotated[Path, typer.Option("--data", help="Folder of a data set; see `aigq data build`.")],
    work: Annotated[Path, typer.Option("--out", help="Folder of the files; they are replaced whole.")],
    ranker: Annotated[
        Path | None, typer.Option("--ranker", help="The click ranker's run, for expected clicks.")
    ] = None,
    histories: Annotated[int, typer.Option(min=0, help="How many histories are sampled.")] = 20_000,
    queries: Annotated[int, typer.Option(min=1, help="Proposals per trigger at most.")] = 20,
    days: Annotated[int, typer.Option(min=1, help="How much later a basket may be.")] = 7,
    seed: Annotated[int, typer.Option(help="Same seed, same data: same files.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Count what leads to what in the training span, before anybody reasons about it.

    Writes proposals-association.jsonl (trigger, query, evidence), histories.jsonl and reference.jsonl (their
    interest points). Nothing after the training span is read. Needs the extra data; --ranker also train.
    """
    with extras("Mining"):
        from training.datasets.dataset import load_dataset
        from training.progress import progress
        from training.think.mining.mine import STEPS, MiningPlan
        from training.think.mining.mine import mine as mine_files

        judge = None
        if ranker is not None:
            from training.ranker import load_ranker

            judge = load_ranker(ranker)
    plan = MiningPlan(queries_max=queries, histories=histories, seed=seed)
    plan = replace(plan, rule=replace(plan.rule, days=days))
    with progress("mine", STEPS) as report:
        mined = mine_files(load_dataset(data), work, plan, report, ranker=judge)
    if json:
        print_json({"folder": str(work), **asdict(mined)})
        return
    out.print(
        f"{mined.proposals} proposals for {mined.triggers} triggers out of {mined.baskets} baskets, "
        f"{mined.histories} histories with {mined.points} interest points in {escape(str(work))}.\n"
        f"Now: aigq think review {escape(str(work))} --auto"
    )
