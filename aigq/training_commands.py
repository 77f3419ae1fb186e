"""``aigq train sft|ranker|grpo|daily``: from a data set's folder to checkpoints."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from aigq.console import out
from streams.errors import TrainingError

Data = Annotated[Path, typer.Option("--data", help="Folder of a data set; see `aigq data build`.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the run. An unfinished run in it goes on.")]
Seed = Annotated[int, typer.Option(help="Same seed, same data: same weights.")]
Threads = Annotated[int, typer.Option(min=1, help="Processor threads.")]
Small = Annotated[bool, typer.Option("--small", help="A toy in under a minute, to see it work.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    train = typer.Typer(
        help="Train the generator and its click ranker. Every run can be stopped and gone on with.",
        no_args_is_help=True,
    )
    example = "Example: aigq train {} --data data/complete-journey --out runs/{}"
    train.command(epilog=example.format("sft", "il_sft"))(sft)
    train.command(epilog=example.format("ranker", "ranker"))(ranker)
    train.command(epilog=example.format("grpo", "il_grpo --start runs/il_sft --ranker runs/ranker"))(grpo)
    app.add_typer(train, name="train")


def sft(
    data: Data,
    out_dir: Out,
    order: Annotated[
        str, typer.Option(help="Target lists: interest (IL-SFT), random (any order), single (pair-wise).")
    ] = "interest",
    seed: Seed = 0,
    threads: Threads = 2,
    passes: Annotated[float | None, typer.Option(help="Over the training samples.")] = None,
    small: Small = False,
) -> None:
    """Teach the generator lists: IL-SFT, or one of the targets it is compared with."""
    module = _needs("training.sft")
    config = module.SMALL if small else module.SftConfig()
    if order not in ("interest", "random", "single"):
        raise typer.BadParameter("interest, random or single", param_hint="--order")
    config = replace(config, seed=seed, threads=threads, rule=replace(config.rule, order=order))
    if passes is not None:
        config = replace(config, passes=passes)
    _told(lambda world: module.run_sft(out_dir, _dataset(data), config, world))


def ranker(data: Data, out_dir: Out, seed: Seed = 0, threads: Threads = 2) -> None:
    """Train the click ranker on the training span's impressions and clicks."""
    module = _needs("training.ranker")
    config = module.RankerConfig(seed=seed, threads=threads)
    _told(lambda world: module.run_ranker(out_dir, _dataset(data), config, world))


def grpo(
    data: Data,
    out_dir: Out,
    start: Annotated[Path, typer.Option(help="Run or checkpoint to start from.")],
    ranker_run: Annotated[Path, typer.Option("--ranker", help="The ranker's run: it gives r_CTR.")],
    level: Annotated[
        str, typer.Option(help="query: IL-GRPO, an advantage per hint. sequence: plain GRPO.")
    ] = "query",
    steps: Annotated[int | None, typer.Option(min=1, help="Updates of the policy.")] = None,
    seed: Seed = 0,
    threads: Threads = 2,
) -> None:
    """Move the generator towards lists that earn more than others of their group."""
    module, rankers = _needs("training.grpo"), _needs("training.ranker")
    settings = _needs("training.grpo_config").GrpoConfig
    chosen: dict[str, Any] = {"level": level, "seed": seed} | ({} if steps is None else {"steps": steps})
    config, first = settings(**chosen), _needs("training.checkpoint").load_run(start)
    judge = rankers.load_ranker(ranker_run)
    _told(
        lambda world: module.run_grpo(
            out_dir, first, judge, _dataset(data), config, threads=threads, world=world
        )
    )


def _told(run: Any) -> None:
    """Run it in the processes that torchrun started, or alone, and say where the result is."""
    with _needs("training.processes").joined_world() as world:
        made = run(world)
        if world.writes:
            out.print(f"Checkpoint: {escape(str(made))}")


def _dataset(folder: Path) -> Any:
    return _needs("training.datasets.dataset").load_dataset(folder)


def _needs(module: str) -> Any:
    """A module of the training room, which needs packages that serving does not."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TrainingError(
            f"Training needs a package that is not installed: {error.name}.",
            action="pip install 'aigq[train,data]'",
        ) from error
