"""Stock Faust with a plain table over a changelog that is there: for benchmarks.recovery alone.

    python -m benchmarks.stock_faust BOOTSTRAP TOPIC CHANGELOG PARTITIONS FOLDER

Nothing of ours is in it: `faust.App`, `app.Table`, an agent that does nothing. Tuned as far as its own
settings go (a buffer for a whole fetch, no waiting for empty streams). Prints a line when the table is
recovered and the partitions are assigned, then waits to be ended.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any

import faust


def stock_app(
    bootstrap: str, topic: str, changelog: str, partitions: int, folder: Path, answers: IO[str]
) -> faust.App:
    """The application; its table recovers from `changelog`."""
    app = faust.App(
        f"stock-{topic}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,
        topic_partitions=partitions,
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=10_000,
        stream_buffer_maxsize=65_536,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
    )
    raw: dict[str, Any] = {"key_serializer": "raw", "value_serializer": "raw"}
    events = app.topic(topic, partitions=partitions, key_type=bytes, value_type=bytes, **raw)
    kept = app.topic(
        changelog, partitions=partitions, compacting=True, key_type=bytes, value_type=bytes, **raw
    )

    async def told() -> None:
        answers.write(f'{{"recovered": {len(table)}}}\n')
        answers.flush()

    table: Any = app.Table(
        "sessions",
        partitions=partitions,
        changelog_topic=kept,
        key_type=bytes,
        value_type=bytes,
        on_recover=told,
    )

    @app.agent(events)
    async def nothing(stream: Any) -> None:
        async for _ in stream:
            pass

    return app


if __name__ == "__main__":
    words, answers = sys.argv[1:], os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Faust's banner is not for who reads the answers
    made = stock_app(words[0], words[1], words[2], int(words[3]), Path(words[4]), answers)
    sys.argv = ["faust", "worker", "--without-web", "-l", "error"]
    made.main()
