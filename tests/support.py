"""What several tests build: a text encoder without a bundle, and events."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import orjson

from streams.hint_request import Int8, to_int8
from streams.records import BehaviorEvent, Source, decode_event

DAY_MS = 86_400_000
NOON_MS = 1_512_129_600_000  # 2017-12-01T12:00:00Z
LATER_MS = 1_900_000_000_000


class DigestEncoder:
    """A TextEncoder whose vectors depend on the text alone: different texts, nearly orthogonal vectors."""

    def __init__(self, dim: int = 64, name: str = "digest") -> None:
        self.dim, self.name = dim, name

    def embed(self, text: str) -> Int8:
        seed = int.from_bytes(hashlib.blake2b(f"{self.name}{text}".encode(), digest_size=8).digest())
        vector = np.random.default_rng(seed).normal(size=self.dim).astype(np.float32)
        return to_int8(vector / np.linalg.norm(vector))


def event_json(
    action: str = "purchase", text: str = "milk", at_ms: int = NOON_MS, user: str = "u1", **fields: Any
) -> dict[str, Any]:
    """A valid event as a JSON object; `fields` override or add."""
    event: dict[str, Any] = {"action_name": action, "timestamp": at_ms, "user_id": user}
    if action == "search":
        event["user_query"] = text
    else:
        event["event_attributes"] = {"object": {"object_id": text, "title": text}}
    return event | fields


def event_of(**fields: Any) -> BehaviorEvent:
    """A decoded event; without `event_id` it gets a new one from its content."""
    raw = event_json(**fields)
    raw.setdefault("event_id", hashlib.sha1(orjson.dumps(raw), usedforsecurity=False).hexdigest())
    return decode_event(orjson.dumps(raw), {}, Source("t", 0, 0), LATER_MS)
