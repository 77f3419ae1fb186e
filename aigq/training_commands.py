"""``aigq train base|ranker|sft|grpo|daily`` and ``aigq reproduce``: from a data set to checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from aigq import daily_command
from aigq.console import out
from aigq.extras import training_module

Data = Annotated[Path, typer.Option("--data", help="Folder of a data set; see `aigq data build`.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the run. An unfinished run in it goes on.")]
Ranker = Annotated[Path, typer.Option("--ranker", help="The click ranker's run.")]
Start = Annotated[Path, typer.Option("--start", help="Run or checkpoint to start from.")]
Seed = Annotated[int, typer.Option(help="Same seed, same data: same weights.")]
Threads = Annotated[int, typer.Option(min=1, help="Processor threads.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps. Default: the method's own.")]
EXAMPLE = "Example: aigq train {} --data data/complete-journey --out runs/{}"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    train = typer.Typer(
        help="Train the generator and its click ranker. Any run can be stopped and gone on with.",
        no_args_is_help=True,
    )
    train.command(epilog=EXAMPLE.format("base", "base"))(base)
    train.command(epilog=EXAMPLE.format("ranker --base runs/base", "ranker"))(ranker)
    train.command(epilog=EXAMPLE.format("sft --start runs/base --ranker runs/ranker", "il_sft"))(sft)
    train.command(epilog=EXAMPLE.format("grpo --start runs/il_sft --ranker runs/ranker", "il_grpo"))(grpo)
    daily_command.register(train)
    app.add_typer(train, name="train")
    app.command(epilog="Example: aigq reproduce --data data/complete-journey --runs runs")(reproduce)


def base(data: Data, out_dir: Out, seed: Seed = 0, threads: Threads = 1) -> None:
    """Train the base: who buys what, and what goes together; every list is learned from it."""
    module = training_module("training.base")
    config = module.BaseConfig(seed=seed, threads=threads)
    _told(lambda world: module.run_base(out_dir, _dataset(data), config, world))


def ranker(
    data: Data,
    out_dir: Out,
    base_run: Annotated[Path, typer.Option("--base", help="The base's run: what is wanted where.")],
    seed: Seed = 0,
    threads: Threads = 1,
) -> None:
    """Train the click ranker on the training span's impressions and clicks."""
    module = training_module("training.ranker_run")
    config, first = module.RankerConfig(seed=seed, threads=threads), _run(base_run)
    _told(lambda world: module.run_ranker(out_dir, first, _dataset(data), config, world))


def sft(
    data: Data,
    out_dir: Out,
    start: Start,
    ranker_run: Ranker,
    order: Annotated[
        str, typer.Option(help="Target lists: interest (IL-SFT), random (any order), single (pair-wise).")
    ] = "interest",
    steps: Steps = None,
    seed: Seed = 0,
    threads: Threads = 1,
) -> None:
    """Teach the generator lists: IL-SFT, or one of the targets it is compared with."""
    if order not in ("interest", "random", "single"):
        raise typer.BadParameter("interest, random or single", param_hint="--order")
    module = training_module("training.sft")
    config = module.SftConfig(seed=seed, threads=threads)
    config = replace(config, steps=steps or config.steps, rule=replace(config.rule, order=order))
    first, judge = _run(start), _ranker(ranker_run)
    _told(lambda world: module.run_sft(out_dir, first, _dataset(data), config, ranker=judge, world=world))


def grpo(
    data: Data,
    out_dir: Out,
    start: Start,
    ranker_run: Ranker,
    level: Annotated[
        str, typer.Option(help="query: IL-GRPO, an advantage per hint. sequence: plain GRPO.")
    ] = "query",
    steps: Steps = None,
    seed: Seed = 0,
    threads: Threads = 1,
) -> None:
    """Move the generator towards lists that earn more than others of their group."""
    module, settings = training_module("training.grpo"), training_module("training.grpo_config").GrpoConfig
    chosen: dict[str, Any] = {"level": level, "seed": seed} | ({"steps": steps} if steps else {})
    config, first, judge = settings(**chosen), _run(start), _ranker(ranker_run)
    _told(
        lambda world: module.run_grpo(
            out_dir, first, judge, _dataset(data), config, threads=threads, world=world
        )
    )


def reproduce(
    data: Data,
    runs: Annotated[Path, typer.Option(help="Folder of all runs; what is complete is left as it is.")],
    small: Annotated[bool, typer.Option("--small", help="A toy in a few minutes, to see it work.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm. Default: 3; small: 1.")] = None,
    threads: Threads = 1,
) -> None:
    """Make the data set and all runs that the paper's comparison needs; then see `aigq evaluate`."""
    module = training_module("training.reproduce")
    budget = module.SMALL if small else module.WHOLE
    module.reproduce(data, runs, replace(budget, seeds=seeds or budget.seeds), threads=threads)
    out.print(
        f"All runs are in {escape(str(runs))}. "
        f"Now: aigq evaluate --data {escape(str(data))} --runs {escape(str(runs))}"
    )


def _told(run: Callable[[Any], Path]) -> None:
    """Run it in the processes that torchrun started, or alone, and say where the result is."""
    with training_module("training.processes").joined_world() as world:
        made = run(world)
        if world.writes:
            out.print(f"Written: {escape(str(made))}")


def _dataset(folder: Path) -> Any:
    return training_module("training.datasets.dataset").load_dataset(folder)


def _run(folder: Path) -> Any:
    return training_module("training.checkpoint").load_run(folder)


def _ranker(folder: Path) -> Any:
    return training_module("training.ranker").load_ranker(folder)
