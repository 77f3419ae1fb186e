"""Real hint requests for measurements: the newest of each household of the demo's purchases.

A part of benchmarks.generation, generation_load and roofline.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from agents.hints.bundle import Bundle
from agents.offline_sessions import OfflineSessions
from agents.serving import rules_of
from streams.replay_order import ordered_records, scan_log
from streams.settings import Settings
from training.datasets.events import demo_purchases, write_event_log

PURCHASES: Final = 60_000
QUICK_PURCHASES: Final = 5_000


def newest_requests(bundle: Bundle, settings: Settings, purchases: int = PURCHASES) -> list[bytes]:
    """Encoded requests, by user. More purchases: fuller windows and habits, and a longer replay."""
    rules = rules_of(settings, bundle.encoder, bundle.name)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "events.jsonl"
        write_event_log(log, demo_purchases(purchases_min=purchases), seed=1)
        sessions = OfflineSessions(rules, "behavior-events", settings.partitions, None)
        now_ms = time.time_ns() // 1_000_000
        for record in ordered_records(log, scan_log(log, now_ms), now_ms):
            sessions.apply(record)
    return [sessions.requests[user][1] for user in sorted(sessions.requests)]
