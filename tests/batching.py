"""A process for tests/integration/test_record_batches.py: an agent on a batched topic that counts in a table.

The state of a key is the values it was sent, joined; what was taken at once is written as the session agent
writes it. Says a JSON line a batch: partition, first and last offset, how many records, and in which turn it
was taken. A value `fail` raises, `slow` waits for a second; `FAIL=0` in the environment lets `fail` pass,
`PACE` is how long each turn takes, `PAUSE` how long a fetch is put off after one that brought little (s).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from streams.app import create_app
from streams.batch_stream import gathered
from streams.record_batches import RecordBatch
from streams.settings import load_settings

FAILS = os.environ.get("FAIL", "1") == "1"
PACE_S = float(os.environ.get("PACE", "0"))


async def count(url: str, prefix: str, events: str, store: str, folder: Path) -> None:
    settings = load_settings(
        {}, kafka_url=url, topic_prefix=prefix, data_dir=folder, commit_interval_s=0.3, state_store=store
    )
    app = create_app("batching", settings)
    app.fetch_pause_s = float(os.environ.get("PAUSE", app.fetch_pause_s))
    source = app.batched_topic(events, partitions=settings.partitions)
    table = app.batched_table("seen", partitions=settings.partitions)

    async def agent(stream: Any) -> None:
        turn = 0
        async for batches in gathered(app, stream):
            await apply(app, table, batches)
            for batch in batches:
                place = [batch.partition, batch.first, batch.offset]
                say({"place": place, "records": len(batch.records), "turn": turn})
            turn += 1

    app.agent(source, name="batching")(agent)
    app.on_ready = lambda: say({"ready": len(list(table.data.keys()))})
    app.finalize()
    await app.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await app.stop()


async def apply(app: Any, table: Any, batches: Sequence[RecordBatch]) -> None:
    states: dict[tuple[int, bytes], bytes] = {}
    await asyncio.sleep(PACE_S)
    for batch, record in ((one, record) for one in batches for record in one.records):
        if record.value == b"fail" and FAILS:
            say({"failed": True})
            raise RuntimeError("told to fail")
        if record.value == b"slow":
            await asyncio.sleep(1.0)
        place = batch.partition, record.key
        before = states.get(place, table.read(record.key, batch.partition) or b"")
        states[place] = before + record.value + b","
    if all(app.is_current(batch) for batch in batches):
        for (partition, key), state in states.items():
            table.write(key, state, partition)
            app.outbox.put(table.changelog_topic_name, partition, key, state)
        await app.outbox.send()


def say(told: dict[str, Any]) -> None:
    sys.__stdout__.write(orjson.dumps(told).decode() + "\n")
    sys.__stdout__.flush()


if __name__ == "__main__":
    asyncio.run(count(*sys.argv[1:5], Path(sys.argv[5])))
