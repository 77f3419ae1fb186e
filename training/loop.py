"""The loop that every trainer shares: steps that can be stopped at any moment and gone on with.

    θ_s = Opt(clip(∇ L(θ_{s−1}; seed, s)), rate · share(s))        s = 1 … steps

All that is random in step s comes from (seed, s), and the rate is a function of s; so weights, optimizer and
s are the whole state (training.run_state). A run that was killed and resumed ends with the weights of an
unbroken one, bit for bit (with as many threads, on a CPU; CUDA adds some sums up in any order). All ours.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from streams.errors import TrainingError
from training.curves import Point
from training.processes import ALONE, World, any_over, average_gradients, mean_over, stop_asked
from training.progress import Report, progress
from training.run_state import CURVE_NAME as CURVE_NAME
from training.run_state import STATE_NAME as STATE_NAME
from training.run_state import RunState, settings_of

WEIGHT: Final = "weight"
FIRST_SHARE: Final = 1 / 25  # of the rate, where one cycle begins
LAST_SHARE: Final = FIRST_SHARE / 10_000  # and where it ends
FREE_SETTINGS: Final = ("save_every", "threads")  # with others the run is still the same
NO_MEMORY: Final = ("out of memory", "not enough memory", "can't allocate memory")
SHOWN_STEPS: Final = 50

LossOf = Callable[[int], tuple[Tensor, dict[str, float]]]
OptimizerOf = Callable[[nn.Module, "Plan"], torch.optim.Optimizer]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run learns. steps, save_every: at least 1. warm_up: share of the steps. clip_norm: of all
    gradients together, math.inf for none. threads: of this process."""

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    warm_up: float = 0.05
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    clip_norm: float = 1.0
    save_every: int = 200
    seed: int = 0
    threads: int = 1


def adamw(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW over all that learns."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learning, plan.learning_rate, plan.betas, weight_decay=plan.weight_decay)


def rate_share(plan: Plan, step: int) -> float:
    """Share of the learning rate in step 1 … steps.

    one_cycle: half a cosine up from 1/25 during the warm-up, half a cosine down to nothing after it (Smith
    2018, as PyTorch's OneCycleLR over steps + 1). constant: a line up during the warm-up, then 1.
    """
    if plan.schedule == "constant":
        return min(1.0, step / max(1.0, plan.warm_up * plan.steps))
    done, peak = step - 1, plan.warm_up * (plan.steps + 1) - 1
    if done < peak:
        return _cosine(FIRST_SHARE, 1.0, done / peak)
    return _cosine(1.0, LAST_SHARE, (done - peak) / (plan.steps - peak))


def step_noise(seed: int, step: int) -> np.random.Generator:
    """What a step draws from; alike in all processes, which draw for the whole batch and keep their share."""
    return np.random.default_rng((seed, step, 1))


def batch_rows(count: int, batch: int, seed: int, step: int) -> npt.NDArray[np.int64]:
    """(batch,) rows of step 1 …: pass after pass over `count` rows, each pass in an order of its own."""
    places = np.arange((step - 1) * batch, step * batch)
    passes = places // count
    orders = [(_order(count, seed, int(number)), passes == number) for number in np.unique(passes)]
    return np.concatenate([order[places[part] % count] for order, part in orders])


def device_of() -> torch.device:
    """Where a network is trained: this process's CUDA device when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_steps(
    folder: Path,
    network: nn.Module,
    loss_of: LossOf,
    plan: Plan,
    title: str,
    *,
    identity: Mapping[str, Any] | None = None,
    world: World = ALONE,
    optimizer_of: OptimizerOf = adamw,
    shown: Sequence[str] = (),
) -> list[Point]:
    """Train `network` in place, from the state in `folder` if there is one; returns all of the run's figures.

    It is trained on `device_of()` and comes back on the CPU; `loss_of` has to follow it there.
    loss_of: step 1 … to this process's mean loss (a scalar) and figures, the same names in every process.
        What it draws comes from `step_noise`, `batch_rows` or torch's generators, which are seeded for each
        step; what it needs from earlier steps has to be in the network's state. The figure "weight", if
        given, says what the mean is over, and weighs this process among the others; it is not kept.
    identity: what else the run depends on (data, shape …), as JSON can hold it.
    optimizer_of: may give parts of the network rates of their own; all follow the plan's schedule.
    shown: figures to show with the progress.
    Each returned point has step, loss, the figures, norm (of the gradient before clipping) and seconds (of
    training, from the run's first step on). SIGTERM and Ctrl-C finish the step and save before they end it.
    Raises TrainingError: a loss or gradient that is no number, no memory, a stop, a state of other settings,
    a disk that refuses; the last state on disk stays good.
    """
    torch.set_num_threads(plan.threads)
    network.to(device_of())
    chosen = {name: value for name, value in asdict(plan).items() if name not in FREE_SETTINGS}
    settings = settings_of({**(identity or {}), **chosen}, network)
    state = RunState(folder, network, optimizer_of(network, plan), settings, world)
    points, run = state.resume(), _Run(state, loss_of, plan)
    with stop_asked() as stop, _watch(title, plan.steps, world) as report, state.curve(points) as curve:
        _go_on(run, points, curve, stop, lambda done: report(done, _note(points, shown)))
    network.cpu().eval()
    if stop.is_set():
        raise TrainingError(
            f"Training was stopped after step {state.kept} of {plan.steps}; its state is in {folder}.",
            action="Run the same command again to go on from there.",
        )
    return points


@dataclass(frozen=True, slots=True)
class _Run:
    state: RunState
    loss_of: LossOf
    plan: Plan


def _go_on(
    run: _Run,
    points: list[Point],
    curve: IO[str] | None,
    stop: threading.Event,
    report: Callable[[int], None],
) -> None:
    started = time.perf_counter() - (points[-1]["seconds"] if points else 0.0)
    report(run.state.kept)
    for step in range(run.state.kept + 1, run.plan.steps + 1):
        point, stopping = _step(run, step, stop)
        points.append(point | {"seconds": round(time.perf_counter() - started, 3)})
        due = stopping or step == run.plan.steps or step % run.plan.save_every == 0
        run.state.write(points[-1], curve, save=due)
        report(step)
        if stopping:
            stop.set()  # also where only another process was asked
            break


def _step(run: _Run, step: int, stop: threading.Event) -> tuple[Point, bool]:
    """The step's figures, and whether any process was asked to stop."""
    state, world = run.state, run.state.world
    noise = np.random.SeedSequence((run.plan.seed, step, 2, world.rank))
    torch.manual_seed(int(noise.generate_state(1)[0]))
    state.network.train()
    for group in state.optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * rate_share(run.plan, step)
    state.optimizer.zero_grad()
    loss, figures, stopping = _own_gradients(run, step, stop)
    weight = float(figures.pop(WEIGHT, 1.0))
    mean_loss, *means = mean_over([loss, *figures.values()], world, weight)
    state.check(mean_loss, "loss", step)
    with _memory(run, step):
        average_gradients(state.network, world, weight)
        norm = float(nn.utils.clip_grad_norm_(state.network.parameters(), run.plan.clip_norm))
        state.check(norm, "gradient's norm", step)
        state.optimizer.step()
    named = dict(zip(figures, means, strict=True))
    return {"step": step, "loss": mean_loss, **named, "norm": norm}, stopping


def _own_gradients(run: _Run, step: int, stop: threading.Event) -> tuple[float, dict[str, float], bool]:
    """This process's loss and figures, and whether any was asked to stop. When one fails, all end here."""
    failure: Exception | None = None
    try:
        with _memory(run, step):
            loss, figures = run.loss_of(step)
            loss.backward()  # type: ignore[no-untyped-call] # PyTorch gives it no types
    except Exception as error:
        failure = error
    failed, stopping = any_over([failure is not None, stop.is_set()], run.state.world)
    if failure is not None:
        raise failure
    if failed:
        raise TrainingError(
            f"Another process of this training failed at step {step}. {run.state.says()}",
            action="See what that process said, then run the same command again to go on.",
        )
    return float(loss.detach()), {name: float(value) for name, value in figures.items()}, stopping


@contextmanager
def _memory(run: _Run, step: int) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not short and not any(words in str(error).lower() for words in NO_MEMORY):
            raise
        raise TrainingError(
            f"Memory ran out at step {step}. {run.state.says()}",
            action="Free memory and run the same command again to go on, or train in a new folder with a "
            "smaller batch.",
        ) from error


def _watch(title: str, steps: int, world: World) -> AbstractContextManager[Report]:
    return progress(title, steps) if world.writes else nullcontext(lambda _done, _note: None)


def _note(points: Sequence[Point], shown: Sequence[str]) -> str:
    """Means of the last steps, as single batches jump about."""
    last = points[-SHOWN_STEPS:]
    means = {name: [point[name] for point in last if name in point] for name in ("loss", *shown)}
    return " · ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in means.items() if values)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@lru_cache(maxsize=4)
def _order(count: int, seed: int, number: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, number, 0)).permutation(count)
