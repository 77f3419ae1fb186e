"""Bytes a user: in the changelog after 1 to 1000 events and after a year, on the broker's disk, in Redis.

    python -m benchmarks.memory [--quick] [--json] [--save]

A year of real households' events goes through the session's own functions (`benchmarks.cloned_states`); the
size of each state is noted as its history grows. Then many users' states are laid into compressed batches as
the worker lays them (`streams.outbox`), one, eight and as many as fit in a batch: a busy worker's batches are
full; a quiet one's, and those that compaction has thinned, are not. The full ones are written to an embedded
Kafka's changelog, whose files are measured. Real lists of the demo bundle are published to an embedded Redis
as the worker does, one, two and three (AIGQ_RUNS_KEPT) a user, and MEMORY USAGE asked for each key. What a
worker holds in memory is in benchmarks.recovery. Figures with a spread are of all users; the others are
means, since they add up.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from agents.hints.compose import compose
from benchmarks.cloned_states import Histories, fill_changelog, histories
from benchmarks.harness import Bar, Figure
from benchmarks.plots import lines
from benchmarks.report import DOCS, Report, command_line, finish, number
from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
from streams.hint_list import HintList
from streams.hint_writer import HintWriter
from streams.outbox import compressed_batch
from streams.redis_client import connect_redis, connect_redis_sync
from streams.redis_keys import hints_key
from streams.settings import Settings, load_settings
from streams.topics import Topics, ensure_topics
from streams.version import Version

PICTURE: Final = "state-growth.png"
HOUSEHOLDS: Final = 300
QUICK_HOUSEHOLDS: Final = 10
DISK_USERS: Final = 20_000
KIB: Final = 1024
STATE_BAR: Final = Bar.at_most(1.5 * KIB)
BATCH: Final = 32
TOGETHER: Final = (1, 8)
STATE: Final = "state after a year"
ON_DISK: Final = "in the changelog on the broker's disk, full batches"


def measure(folder: Path, households: int, disk_users: int) -> tuple[Report, list[tuple[float, float]]]:
    """The report, and (events, mean bytes) of the growing histories."""
    known = histories(households)
    sizes = [len(state) for state in known.states.values()]
    grown = [(float(n), statistics.fmean(found)) for n, found in known.sizes.items() if found]
    figures = [
        *(
            Figure.of(f"state after {n:,} events", "bytes", found)
            for n, found in known.sizes.items()
            if found
        ),
        Figure.of(STATE, "bytes", [statistics.fmean(sizes)]),
        Figure.of("largest state after a year", "bytes", [max(sizes)]),
        *(
            Figure.of(
                f"in the changelog, {together} a batch",
                "bytes/user",
                [packed_bytes(known, together)],
                STATE_BAR,
            )
            for together in TOGETHER
        ),
        Figure.of(ON_DISK, "bytes/user", [disk_bytes(folder, known, disk_users)], STATE_BAR),
        *redis_figures(folder, known),
    ]
    notes = [
        f"{known.events:,} events of {len(sizes)} households. "
        f"Lists of {known.bundle.name}, {number(len(known.requests))} users."
    ]
    return Report("memory", __doc__ or "", figures, notes=notes, pictures=[PICTURE]), grown


def disk_bytes(folder: Path, known: Histories, users: int) -> float:
    """Bytes a user of the changelog's files, each state written once."""
    with EmbeddedKafka(folder / "kafka") as kafka:
        settings = load_settings({}, kafka_url=kafka.url)
        ensure_topics(settings)
        fill_changelog(settings, known.clones(users))
        changelog = Topics.of(settings).changelog
    files = (path for path in (folder / "kafka").rglob("*") if path.is_file() and changelog in str(path))
    return sum(path.stat().st_size for path in files) / users


def packed_bytes(known: Histories, together: int) -> float:
    """Bytes a user of batches of so many users' states, as the outbox builds them."""
    users, packed = list(known.clones(len(known.states))), 0
    random.Random(0).shuffle(users)  # noqa: S311 - neighbours, no secret
    for start in range(0, len(users), together):
        builder = compressed_batch()
        for key, state in users[start : start + together]:
            builder.append(timestamp=0, key=key, value=state)
        builder.close()
        packed += len(builder._build())
    return packed / len(users)


def redis_figures(folder: Path, known: Histories) -> list[Figure]:
    """MEMORY USAGE of a user's key with one list, two, three."""
    figures = []
    with EmbeddedRedis(folder / "redis") as server:
        settings = load_settings({}, redis_url=server.url)
        for kept in range(1, settings.runs_kept + 1):
            lists = asyncio.run(_published(settings, known, kept))
            with connect_redis_sync(settings) as client:
                found = [int(client.memory_usage(hints_key(one.user), samples=0) or 0) for one in lists]
            figures.append(Figure.of(f"key in Redis with {kept} lists", "bytes", found))
        value = Figure.of("one list as JSON", "bytes", [len(one.to_json()) for one in lists])
    return [*figures, value]


async def _published(settings: Settings, known: Histories, run: int) -> list[HintList]:
    async with connect_redis(settings) as client:
        writer = HintWriter(client, runs_kept=settings.runs_kept, ttl_s=settings.hints_ttl_s)
        found = list[HintList]()
        for at in range(0, len(known.requests), BATCH):
            batch = [
                replace(request, version=Version(request.version.as_of_ms + run, request.version.offset))
                for request in known.requests[at : at + BATCH]
            ]
            found += [one.hints for one in compose(batch, known.bundle, generated_at_ms=0)]
            await writer.publish(found[at:])
    return found


def _draw(grown: Sequence[tuple[float, float]]) -> None:
    lines(
        DOCS / PICTURE,
        "A state, uncompressed, as its history grows",
        ("events of the user so far", "bytes, mean of the households"),
        {"session state": grown},
        logarithmic="x",
    )


def main() -> None:
    """Command line."""
    given = command_line(__doc__).parse_args()
    households, users = (QUICK_HOUSEHOLDS, 1_000) if given.quick else (HOUSEHOLDS, DISK_USERS)
    with tempfile.TemporaryDirectory() as folder:
        report, grown = measure(Path(folder), households, users)
    if given.save:
        _draw(grown)
    finish(report, given)


if __name__ == "__main__":
    main()
