"""``aigq demo``: the whole stream on real purchases, in one command."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from redis import Redis
from rich.live import Live

from aigq.console import err, out, print_json
from aigq.demo_feed import Feed, liveliest, outgoing
from aigq.demo_screen import Numbers, Shopper, screen, seconds
from aigq.demo_watch import Samples, StateWatch, by_label, quantile, read_metrics, total
from aigq.services import WorkerProcess, embedded_servers
from streams.errors import BrokerError, SettingsError
from streams.hint_store import HintReader
from streams.record_log import read_log
from streams.redis_client import connect_redis_sync
from streams.settings import load_settings
from streams.topics import ensure_topics

SEED = 1
SHOPPERS = 4
PURCHASES_PER_HOUSEHOLD = 40
FRAME_S = 0.25
PLAIN_LINE_S = 5.0
DRAIN_LIMIT_S = 60.0
MARK = ".aigq-demo"
NEXT = """Try next (in `make shell`, or with .venv/bin before the name):
  aigq up                                 Kafka, Redis and a worker that stay; prints two exports
  aigq events sample --out sample.jsonl   a log of real purchases
  aigq replay sample.jsonl                into Kafka
  aigq hints get hh-1 --explain           what a backend would show, and why
  aigq replay sample.jsonl --offline      the same decisions without Kafka or Redis, for tests"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: aigq demo    (or: aigq demo --json | tail -1)")(demo)


def demo(
    json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
    rate: Annotated[float, typer.Option(min=1, help="Events per second, at most.")] = 250.0,
    purchases: Annotated[int, typer.Option(min=100, help="At least so many real purchases.")] = 20_000,
    data_dir: Annotated[Path, typer.Option(help="Emptied at the start; logs stay for a look.")] = Path(
        "var/demo"
    ),
) -> None:
    """Run everything on this machine: Kafka, Redis, a worker, and real purchases; watch the hints come.

    The purchases are real (The Complete Journey, December 2017); the searches between them are simulated.
    Ends by itself after about a minute and a half. Needs the extras cpu,data.
    """
    shown = _say if not json else err.print
    shown("Preparing real purchases …")
    events = _events(data_dir, purchases)
    households = len({event["user_id"] for event in events})
    shown(f"{len(events):,} events of {households:,} households. Starting Kafka, Redis and a worker …")
    with (
        embedded_servers(data_dir) as services,
        WorkerProcess(data_dir / "worker", _with_topics(services.settings)) as worker,
    ):
        settings = load_settings(kafka_url=services.kafka.url, redis_url=services.redis.url)
        feed = Feed(settings, list(outgoing(events, seed=SEED)), rate)
        watch = StateWatch(settings, liveliest(events, SHOPPERS))
        run = DemoRun(feed, watch, worker, connect_redis_sync(settings))
        try:
            summary = run.run(live=out.is_terminal and not json, say=shown)
        finally:
            feed.stop()
            watch.stop()
            run.close()
    if json:
        print_json(summary)
    else:
        _tell(summary)


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

    def _hints(self, user: str) -> tuple[str, ...]:
        lists = self.reader.lists(user)
        return tuple(hint.query for hint in lists[0].hints) if lists else ()

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
        hints = f" · {user}: {', '.join(self._hints(user)[:4])} …" if user else ""
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


def _events(data_dir: Path, purchases: int) -> list[dict[str, Any]]:
    from training.datasets.events import demo_purchases, write_event_log

    _empty(data_dir)
    log = data_dir / "events.jsonl.zst"
    households = min(500, purchases // PURCHASES_PER_HOUSEHOLD)
    write_event_log(log, demo_purchases(purchases_min=purchases, households_min=households), seed=SEED)
    return [orjson.loads(record.value) for record in read_log(log)]


def _empty(data_dir: Path) -> None:
    """Remove an earlier demo's folder; anything else is not ours to remove."""
    if data_dir.exists():
        if any(data_dir.iterdir()) and not (data_dir / MARK).exists():
            raise SettingsError(
                f"{data_dir} is not empty and no folder of the demo. Nothing was removed.",
                action="Choose another --data-dir.",
            )
        shutil.rmtree(data_dir)
    data_dir.mkdir(parents=True)
    (data_dir / MARK).touch()


def _with_topics(settings: dict[str, str]) -> dict[str, str]:
    """The feed and the watch start at once, so the topics must be there before the worker is ready."""
    ensure_topics(load_settings(kafka_url=settings["AIGQ_KAFKA_URL"], redis_url=settings["AIGQ_REDIS_URL"]))
    return settings


def _say(text: str) -> None:
    out.print(text, highlight=False)


def _tell(summary: dict[str, Any]) -> None:
    s = summary
    decisions = ", ".join(f"{name} {count:,}" for name, count in s["decisions"].items())
    out.print(f"\n[bold]{s['events_sent']:,} events sent, {s['lost']} lost.[/bold]", highlight=False)
    _say(
        f"  {s['events_applied']:,} applied, {s['duplicates']} duplicates ignored, "
        f"{s['dead_letters']} broken records set aside with their reason\n"
        f"  {s['lists']:,} hint lists for {s['users']:,} households, in {s['seconds']:.0f} s\n"
        f"  readable {seconds(s['freshness_p50_s'])} after the event, "
        f"99 % within {seconds(s['freshness_p99_s'])}\n"
        f"  decisions: {decisions}\n"
    )
    _say(NEXT)
