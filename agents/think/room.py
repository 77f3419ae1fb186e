"""Whether a mapping version fits into Redis, asked before it is written.

A Redis without room refuses every writer (`noeviction`) or drops what has an end of life (`volatile-*`):
either way a mapping that is too large would cost shoppers their lists. So it is estimated first, and one
that runs out of room all the same takes back what it wrote (`agents.think.entries`).
"""

from __future__ import annotations

from typing import Any, Final

import redis.asyncio
from redis.exceptions import NoPermissionError

from streams.errors import StoreRefusedError

# Entries, their keys and the index take 1.7 to 2.0 times the file's bytes (`benchmarks/mapping_load.py`).
REDIS_BYTES_A_FILE_BYTE: Final = 2.0
_ACTION: Final = (
    "Raise Redis' maxmemory, free some (`aigq think gc`), or build a smaller version "
    "(`aigq think build --queries 5`)."
)


async def check_room(client: redis.asyncio.Redis, version: str, file_bytes: float) -> None:
    """Raise StoreRefusedError if `file_bytes` of mapping do not fit; nothing without a limit or the right."""
    try:
        memory: dict[str, Any] = await client.info("memory")
    except NoPermissionError:  # a user of older rights: the load itself will tell
        return
    limit, used = int(memory.get("maxmemory", 0)), int(memory.get("used_memory", 0))
    needed = round(file_bytes * REDIS_BYTES_A_FILE_BYTE)
    if limit and used + needed > limit:
        raise StoreRefusedError(
            f"Mapping {version} needs about {_mb(needed)} MB of Redis, which has "
            f"{_mb(max(0, limit - used))} MB left of {_mb(limit)}. It was not written; what is served stays.",
            action=_ACTION,
        )


def ran_out(version: str, *, kept: bool) -> StoreRefusedError:
    """Redis became full while the version was written; kept: because users see it, it was not deleted."""
    left = "What was written stays, since users see it" if kept else "What was written of it was deleted"
    return StoreRefusedError(f"Redis is full: mapping {version} does not fit. {left}.", action=_ACTION)


def _mb(count: float) -> str:
    return f"{count / 1e6:,.1f}"
