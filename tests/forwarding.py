"""A process for tests/integration/test_delivery.py: forwards each event to a topic until it fails.

Prints "sent" for each event, and at the end the name of the error that crashed the app.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from streams.app import RAW, create_app
from streams.settings import load_settings


async def forward(url: str, prefix: str, events: str, target: str, size: int, folder: Path) -> None:
    settings = load_settings({}, kafka_url=url, topic_prefix=prefix, data_dir=folder, commit_interval_s=0.3)
    app = create_app("forward", settings)
    source = app.topic(events, partitions=settings.partitions, **RAW)
    out = app.topic(target, partitions=1, **RAW)

    async def agent(stream: Any) -> None:
        async for _ in stream.events():
            await out.send(value=b"x" * size)
            say("sent")

    app.agent(source, name="forward")(agent)
    app.finalize()
    await app.start()
    while not app.crashed:
        await asyncio.sleep(0.1)
    say(type(app.crash_reason).__name__)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(forward(*sys.argv[1:5], int(sys.argv[5]), Path(sys.argv[6])))
