"""Training in several processes, each with its share of every batch; gradients are averaged between them.

    python -m torch.distributed.run --standalone --nproc-per-node 2 -m …       (PyTorch's launcher, torchrun)

    g = Σ_r w_r · g_r / Σ_r w_r       g_r: gradient of process r's own mean loss; w_r: what that mean is over

so N processes walk the same path as one with the whole batch, up to the rounding of sums taken in another
order. Between processes go gloo (CPU) or NCCL (CUDA). Ours: the paper (§5.1.1) trains with Megatron.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from streams.errors import TrainingError


class Rows(Protocol):
    """A list, an array or a tensor: anything with rows to take a slice of."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...


R = TypeVar("R", bound=Rows)


@dataclass(frozen=True, slots=True)
class World:
    """This process's number and how many there are; only number 0 writes files and shows progress."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0


ALONE: Final = World()
STOPS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def joined_world() -> Iterator[World]:
    """The processes that torchrun started, this one among them; a world of one without torchrun.

    On CUDA each process of a machine gets a device of its own, from here on the default one.
    Raises TrainingError when the others cannot be reached.
    """
    world = _world_of(os.environ.get("RANK"), os.environ.get("WORLD_SIZE"))
    if world.size == 1:
        yield world
        return
    _join(world, int(os.environ.get("LOCAL_RANK", "0")))
    try:
        yield world
    finally:
        dist.destroy_process_group()


def share(rows: R, world: World) -> R:
    """This process's rows: consecutive, no two processes' counts more than one apart.

    When `world.size` does not divide the rows, `run_steps` needs each step's weight to stay exact.
    Raises TrainingError when there are fewer rows than processes.
    """
    count = len(rows)
    if count < world.size:
        raise TrainingError(
            f"A batch of {count} rows cannot be split over {world.size} processes; nothing was trained.",
            action="Take a larger batch or fewer processes.",
        )
    part: R = rows[count * world.rank // world.size : count * (world.rank + 1) // world.size]
    return part


def average_gradients(network: nn.Module, world: World, weight: float = 1.0) -> None:
    """After `backward`: every process has the weighted mean of all processes' gradients, in place.

    A parameter that no process used keeps no gradient, as in one process; one that some used counts as 0
    in the others. Raises TrainingError when another process is gone.
    """
    if world.size == 1:
        return
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    used = [float(parameter.grad is not None) for parameter in parameters]
    parts = [_gradient(parameter).flatten() * weight for parameter in parameters]
    sums = torch.cat([*parts, parts[0].new_tensor([*used, weight])])
    _summed(sums)
    *gradients, used_by, total = torch.split(sums, [*map(len, parts), len(used), 1])
    for parameter, gradient, users in zip(parameters, gradients, used_by.tolist(), strict=True):
        parameter.grad = (gradient / total).view_as(parameter).to(parameter.dtype) if users else None


def mean_over(values: Sequence[float], world: World, weight: float = 1.0) -> list[float]:
    """The weighted mean of each value over all processes; all give equally many. Not a number stays so."""
    if world.size == 1:
        return list(values)
    sums = torch.tensor([*(value * weight for value in values), weight], dtype=torch.float64)
    *totals, total = _summed(sums.to(_device())).tolist()
    return [value / total if total else float("nan") for value in totals]


def any_over(flags: Sequence[bool], world: World) -> list[bool]:
    """For each flag whether it is up in any process, so that all of them decide alike."""
    if world.size == 1:
        return list(flags)
    counts = _summed(torch.tensor(flags, dtype=torch.float32, device=_device()))
    return [count > 0 for count in counts.tolist()]


def from_first(content: Any, world: World) -> Any:
    """Process 0's `content` in every process; what the others give is not looked at."""
    if world.size == 1:
        return content
    box = [content if world.writes else None]
    with _others_present():
        dist.broadcast_object_list(box, src=0)
    return box[0]


def begin_alike(network: nn.Module, world: World) -> None:
    """Every process starts from process 0's weights, in place."""
    if world.size > 1:
        for values in network.state_dict().values():
            with _others_present():
                dist.broadcast(values, src=0)


@contextmanager
def stop_asked() -> Iterator[threading.Event]:
    """Set by the first SIGTERM or Ctrl-C; a second one, and all after the block, act as they did before.

    Only the main thread can hear them; in others the event is never set from here.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in STOPS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(*_: object) -> None:
        asked.set()
        restore()

    for number in STOPS:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()


def _world_of(rank: str | None, size: str | None) -> World:
    if rank is None or size is None:
        return ALONE
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        raise TrainingError(
            f"RANK={rank} and WORLD_SIZE={size} do not name a process; nothing was trained.",
            action="Unset both, or start with `python -m torch.distributed.run`.",
        )
    return World(int(rank), int(size))


def _join(world: World, local_rank: int) -> None:
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"Process {world.rank} of {world.size} cannot join the others: {error}; nothing was trained.",
            action="Start with `python -m torch.distributed.run`, on CUDA with a process per device at most.",
        ) from error


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _summed(values: Tensor) -> Tensor:
    with _others_present():
        dist.all_reduce(values)
    return values


@contextmanager
def _others_present() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"Another process of this training is gone: {error}. The last state on disk stays.",
            action="See what the other process said, then run the same command again to go on.",
        ) from error
