"""One demo from its first event to its summary: feed, watch, draw, and account for every event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from rich.live import Live

from aigq.console import out
from aigq.demo_feed import Feed
from aigq.demo_screen import Numbers, Shopper, screen, seconds, text_of
from aigq.demo_watch import Samples, StateWatch, by_label, quantile, read_metrics, total
from aigq.services import WorkerProcess
from streams.errors import BrokerError
from streams.hint_list import Hint
from streams.hint_store import HintReader

FRAME_S = 0.25
PLAIN_LINE_S = 5.0
DRAIN_LIMIT_S = 60.0
SHELF = 20


class DemoRun:
    """Feeds, watches, draws, and counts at the end."""

    def __init__(self, feed: Feed, watch: StateWatch, worker: WorkerProcess, redis: Redis) -> None:
        self.feed, self.watch, self.worker, self.redis = feed, watch, worker, redis
        self.reader = HintReader(redis)
        self._before: tuple[float, int, float] = (time.monotonic(), 0, 0.0)
        self._rates = (0.0, 0.0)

    def run(self, *, live: bool, say: Callable[[str], None]) -> dict[str, Any]:
        """Until everything sent was worked off. Raises BrokerError when it was not."""
        started_s = time.monotonic()
        self.watch.start()
        self.feed.start()
        if live:
            with Live(console=out, screen=True, auto_refresh=False) as view:
                samples = self._until_done(lambda s: view.update(self._screen(s), refresh=True), FRAME_S)
        else:
            samples = self._until_done(lambda s: say(self._line(s)), PLAIN_LINE_S)
        return self._summary(samples, time.monotonic() - started_s)

    def close(self) -> None:
        """Close the connection to Redis."""
        self.reader.close()

    def _until_done(self, show: Callable[[Samples], None], every_s: float) -> Samples:
        shown_s = drained_s = 0.0
        while True:
            samples = read_metrics(self.worker.health_url)
            self.feed.worked_off = int(total(samples, "aigq_events_total"))
            if self.feed.failed is not None:
                raise BrokerError(
                    f"The demo could not send: {self.feed.failed!r}.", action="See var/demo/*/*.log."
                )
            now_s = time.monotonic()
            if now_s - shown_s >= every_s:
                show(samples)
                shown_s = now_s
            if self.feed.done:
                drained_s = drained_s or now_s
                if _is_drained(samples, self.feed.sent):
                    show(samples)
                    return samples
                if now_s - drained_s > DRAIN_LIMIT_S:
                    raise BrokerError(
                        f"{self.feed.sent} events were sent, but the worker has not worked them off.",
                        action="See the worker's log in var/demo/worker.",
                    )
            time.sleep(FRAME_S)

    def _screen(self, samples: Samples) -> Any:
        shoppers = [
            Shopper(user, self.feed.last.get(user, []), self.watch.seen.get(user), self._hints(user))
            for user in self.watch.users
        ]
        return screen(shoppers, self._numbers(samples))

    def _hints(self, user: str) -> tuple[Hint, ...]:
        """What a reader shows at the time of the newest list: ten of their own, and Think's next to them."""
        newest = self.reader.get(user, trigger="").as_of
        if newest is None:
            return ()
        done = [text_of(event) for event in self.feed.last.get(user, [])]
        return self.reader.get(user, now_ms=newest, trigger=done, limit=SHELF).hints

    def _numbers(self, samples: Samples) -> Numbers:
        lists = total(samples, "aigq_lists_total", outcome="published")
        self._measure_rates(lists)
        newest = max((events[0]["timestamp"] for events in self.feed.last.values()), default=0)
        return Numbers(
            sent=self.feed.sent,
            to_send=len(self.feed.records),
            applied=int(total(samples, "aigq_events_total", outcome="applied")),
            duplicates=int(total(samples, "aigq_events_total", outcome="duplicate")),
            dead_letters=int(total(samples, "aigq_dead_letters_total")),
            lists=int(lists),
            users=int(total(samples, "aigq_session_users")),
            events_per_s=self._rates[0],
            lists_per_s=self._rates[1],
            freshness_p50_s=quantile(samples, "aigq_freshness_seconds", 0.5),
            freshness_p99_s=quantile(samples, "aigq_freshness_seconds", 0.99),
            at_ms=newest,
            decisions=by_label(samples, "aigq_refresh_decisions_total", "reason"),
        )

    def _measure_rates(self, lists: float) -> None:
        now_s = time.monotonic()
        before_s, sent, lists_before = self._before
        if now_s - before_s >= 1.0:
            self._rates = (
                (self.feed.sent - sent) / (now_s - before_s),
                (lists - lists_before) / (now_s - before_s),
            )
            self._before = (now_s, self.feed.sent, lists)

    def _line(self, samples: Samples) -> str:
        n = self._numbers(samples)
        user = max(self.watch.seen, key=lambda name: self.watch.seen[name].renewed, default="")
        hints = f" · {user}: {', '.join(hint.query for hint in self._hints(user)[:4])} …" if user else ""
        fresh = f"{seconds(n.freshness_p50_s)} (p99 {seconds(n.freshness_p99_s)})"
        return (
            f"{n.sent:,}/{n.to_send:,} events · {n.lists:,} lists for {n.users:,} shoppers · "
            f"fresh after {fresh} · {n.dead_letters} dead letters{hints}"
        )

    def _summary(self, samples: Samples, took_s: float) -> dict[str, Any]:
        outcomes = by_label(samples, "aigq_events_total", "outcome")
        accounted = sum(count for outcome, count in outcomes.items() if outcome != "replayed")
        users = sum(1 for _ in self.redis.scan_iter(match="aigq:1:hints:*", count=1000))
        return {
            "events_sent": self.feed.sent,
            "events_applied": outcomes.get("applied", 0),
            "duplicates": outcomes.get("duplicate", 0),
            "dead_letters": outcomes.get("dead_lettered", 0),
            "lost": self.feed.sent - accounted,
            "users": users,
            "lists": int(total(samples, "aigq_lists_total", outcome="published")),
            "decisions": by_label(samples, "aigq_refresh_decisions_total", "reason"),
            "freshness_p50_s": round(quantile(samples, "aigq_freshness_seconds", 0.5) or 0, 3),
            "freshness_p99_s": round(quantile(samples, "aigq_freshness_seconds", 0.99) or 0, 3),
            "seconds": round(took_s, 1),
        }


def _is_drained(samples: Samples, sent: int) -> bool:
    """All events read, and nothing left between the agents."""
    return total(samples, "aigq_events_total") >= sent and total(samples, "aigq_lag_records") == 0
