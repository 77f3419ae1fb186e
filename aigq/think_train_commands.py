"""``aigq think train sft|grpo|judge``: the Think network, from mined histories to interest points."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from aigq.console import out, print_json
from aigq.extras import training_module

Data = Annotated[Path, typer.Option("--data", help="Folder of a data set; see `aigq data build`.")]
Work = Annotated[Path, typer.Option("--work", help="Folder of `aigq think mine`.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of the run. An unfinished run in it goes on.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps. Default: the method's own.")]
Seed = Annotated[int, typer.Option(help="Same seed, same data: same weights.")]
Threads = Annotated[int, typer.Option(min=1, help="Processor threads.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
EXAMPLE = "Example: aigq think train {} --data data/complete-journey {}"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    train = typer.Typer(
        help="Train the Think network. Any run can be stopped and gone on with.", no_args_is_help=True
    )
    train.command(epilog=EXAMPLE.format("sft", "--work think/work --out runs/think_sft"))(sft)
    grpo_example = "--work think/work --start runs/think_sft --out runs/think_il_grpo"
    train.command(epilog=EXAMPLE.format("grpo", grpo_example))(grpo)
    train.command(epilog=EXAMPLE.format("judge", "--run runs/think_il_grpo"))(judge)
    app.add_typer(train, name="train")


def sft(
    data: Data,
    work: Work,
    out_dir: Out,
    trace: Annotated[
        bool, typer.Option("--trace/--no-trace", help="Write a rationale for each point first.")
    ] = True,
    small: Annotated[bool, typer.Option("--small", help="A toy network, to see it work.")] = False,
    steps: Steps = None,
    seed: Seed = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Teach the network the reference points of mined histories: IL-SFT over reasoning and points."""
    module = training_module("training.think.network.sft")
    config = replace(module.SMALL if small else module.ThinkSftConfig(), traced=trace, seed=seed)
    config = replace(config, steps=steps or config.steps, threads=threads)
    _told(module.run_think_sft(out_dir, _dataset(data), work, config), json)


def grpo(
    data: Data,
    work: Work,
    out_dir: Out,
    start: Annotated[Path, typer.Option("--start", help="Run or network to start from.")],
    steps: Steps = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Histories a step.")] = None,
    seed: Seed = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Move it towards triggers, queries and facts that earn more than others of their group: IL-GRPO."""
    module, stored = (
        training_module("training.think.network.grpo"),
        training_module("training.think.network.stored"),
    )
    config = module.THINK_GRPO
    config = replace(config, steps=steps or config.steps, batch=batch or config.batch, seed=seed)
    first = stored.load_network(start)
    _told(module.run_think_grpo(out_dir, first, _dataset(data), work, config, threads=threads), json)


def judge(
    data: Data,
    run: Annotated[Path, typer.Option("--run", help="Run or network to judge.")],
    part: Annotated[str, typer.Option(help="Part of the data set: validate or test.")] = "validate",
    histories: Annotated[int, typer.Option(min=1, help="How many histories are sampled.")] = 2_000,
    seed: Seed = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Compare what it writes with the reference points of later histories, beside association alone."""
    module, stored = (
        training_module("training.think.network.judge"),
        training_module("training.think.network.stored"),
    )
    network, found = stored.load_network(run), _dataset(data)
    figures = module.judge_network(network, found, part, histories, seed, threads=threads)
    if json:
        print_json({name: asdict(one) for name, one in figures.items()})
        return
    for name, one in figures.items():
        told = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in asdict(one).items())
        out.print(f"{name}: {told}")


def _told(made: Path, json: bool) -> None:
    if json:
        print_json({"network": str(made)})
    else:
        out.print(f"Written: {escape(str(made))}")


def _dataset(folder: Path) -> Any:
    return training_module("training.datasets.dataset").load_dataset(folder)
