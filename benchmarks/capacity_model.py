"""How many machines so many users need: a model of measured costs and assumptions (docs/capacity.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.report import RESULTS, saved
from benchmarks.shards import most_to_mean
from streams.errors import SettingsError

DAY_S: Final = 86_400
SIMULATED: Final = 1_000_000  # users in the simulation of skew; more are spread more evenly
MOST_WORKERS: Final = 512  # simulated; beyond, the skew is that of so many


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What no benchmark can tell."""

    active: float = field(default=0.10, metadata={"about": "share of all users who come on a day"})
    events: float = field(default=30.0, metadata={"about": "events of such a user on that day"})
    lists_an_event: float = field(
        default=0.3,
        metadata={"about": "lists made for each event; 0.3 in the traffic of benchmarks.freshness"},
    )
    peak: float = field(default=3.0, metadata={"about": "the busiest minute, in times of the mean"})
    used: float = field(default=0.6, metadata={"about": "share of a core that is planned to be used at peak"})
    cores: float = field(default=16.0, metadata={"about": "cores of a machine, one worker process each"})
    memory_gb: float = field(
        default=64.0, metadata={"about": "memory of a machine, of which 75 % is planned for"}
    )
    with_lists: float = field(
        default=0.4, metadata={"about": "share of all users with lists in Redis (two weeks)"}
    )
    copies: float = field(default=3.0, metadata={"about": "copies of each partition in Kafka; Redis has 2"})
    recover_s: float = field(
        default=60.0, metadata={"about": "seconds in which a worker's users must be back"}
    )
    skew: float = field(default=0.5, metadata={"about": "Zipf exponent of the users' activity"})


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured on one core of one machine. event_us, list_us: CPU; *_bytes: a user's; records_s: recovery."""

    event_us: float
    list_us: float
    kafka_us: float
    redis_us: float
    state_bytes: float
    worker_bytes: float
    redis_bytes: float
    records_s: float

    @classmethod
    def read(cls, folder: Path = RESULTS) -> Self:
        """From saved results that are no quick runs. Raises SettingsError that names the missing one."""
        return cls(**{name: float(figure_of(folder, *place)["median"]) for name, place in PLACES.items()})


# Which figure of which benchmark; the name's beginning is enough.
PLACES: Final = {
    "event_us": ("scale_out", "session role, an event"),
    "list_us": ("scale_out", "hints role, a list"),
    "kafka_us": ("scale_out", "Kafka, an event"),
    "redis_us": ("scale_out", "Redis, a list"),
    "state_bytes": ("memory", "in the changelog, 1 a batch"),
    "worker_bytes": ("recovery", "worker's memory at"),
    "redis_bytes": ("memory", "key in Redis with 3 lists"),
    "records_s": ("recovery", "recovered by aigq"),
}


@dataclass(frozen=True, slots=True)
class Need:
    """For so many users. Workers are processes of one core; machines hold `cores` of them."""

    users: float
    events_s: float
    lists_s: float
    skew: float
    session_workers: int
    bound_by: str
    hints_workers: int
    worker_gb: float
    redis_gb: float
    kafka_gb: float
    partitions: int
    machines: int


def need(users: float, costs: Costs, given: Assumptions) -> Need:
    """What so many users need at peak."""
    events_s = users * given.active * given.events * given.peak / DAY_S
    lists_s = events_s * given.lists_an_event
    by_cpu = events_s * costs.event_us / 1e6 / given.used
    by_recovery = users / (costs.records_s * given.recover_s)
    worker_gb = users * costs.worker_bytes / 1e9
    a_worker_gb = given.memory_gb * 0.75 / given.cores
    wishes = {"events": by_cpu, "recovery": by_recovery, "memory": worker_gb / a_worker_gb}
    # The skew depends on the workers, and they on it: once more with what the first guess gives.
    bound_by = max(wishes, key=lambda name: wishes[name])
    skew = skew_of(math.ceil(wishes[bound_by]), given.skew)
    session = math.ceil(max(by_cpu * skew, by_recovery, wishes["memory"]))
    hints = math.ceil(lists_s * costs.list_us / 1e6 / given.used * skew_of(session, given.skew))
    servers = math.ceil((events_s * costs.kafka_us + lists_s * costs.redis_us) / 1e6 / given.used)
    redis_gb = 2 * users * given.with_lists * costs.redis_bytes / 1e9
    machines = math.ceil((session + hints + servers) / given.cores) + math.ceil(
        redis_gb / given.memory_gb / 0.75
    )
    return Need(
        users=users,
        events_s=events_s,
        lists_s=lists_s,
        skew=skew,
        session_workers=session,
        bound_by=bound_by,
        hints_workers=hints,
        worker_gb=worker_gb,
        redis_gb=redis_gb,
        kafka_gb=given.copies * users * costs.state_bytes / 1e9,
        partitions=partitions_for(max(session, hints)),
        machines=machines,
    )


def partitions_for(workers: int) -> int:
    """The power of two with at least ten for each worker: then one more or less weighs a tenth at most."""
    return 1 << math.ceil(math.log2(max(4, 10 * workers)))


@lru_cache(maxsize=64)
def skew_of(workers: int, exponent: float) -> float:
    """The busiest worker in times of the mean, with the partitions that so many workers should have."""
    most = min(max(workers, 1), MOST_WORKERS)
    return most_to_mean(SIMULATED, exponent, partitions_for(most), most)


def figure_of(folder: Path, benchmark: str, figure: str) -> dict[str, Any]:
    """The first figure of that beginning in saved results that are no quick run. Raises SettingsError."""
    found = saved(benchmark, folder)
    if found is None or found["quick"]:
        raise SettingsError(
            f"Not measured yet: {benchmark}.", action=f"Run: python -m benchmarks {benchmark} --save"
        )
    figures = [one for one in found["figures"] if one["name"].startswith(figure)]
    if not figures:
        raise SettingsError(
            f"The results of {benchmark} have no figure {figure!r}.",
            action=f"They are of another version. Run: python -m benchmarks {benchmark} --save",
        )
    first: dict[str, Any] = figures[0]
    return first
