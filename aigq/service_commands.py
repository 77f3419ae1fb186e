"""``aigq worker`` and ``aigq up``."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from agents.parts import ALL_ROLES, Role
from agents.worker import Worker
from aigq.console import out, print_json
from aigq.services import WorkerProcess, embedded_servers
from streams.errors import EmbeddedServerError
from streams.logs import configure_logs
from streams.settings import load_settings

POLL_S = 0.5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: AIGQ_KAFKA_URL=kafka://k1:9092 aigq worker --only session")(worker)
    app.command(epilog="Example: aigq up --data-dir var/aigq    (Ctrl-C stops everything)")(up)


def worker(
    only: Annotated[
        list[Role] | None, typer.Option(help="Run this role only; may be repeated. Default: all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> None:
    """Run a worker until it is told to stop (SIGTERM or Ctrl-C).

    It reads events from Kafka and writes hint lists to Redis. All settings come from AIGQ_… variables
    (`aigq doctor --settings` lists them). Start as many as there are partitions.
    """
    settings = load_settings()
    configure_logs(settings.log_level)
    roles = tuple(dict.fromkeys(only)) if only else ALL_ROLES
    running = Worker(settings, roles)

    def ready() -> None:
        if json:
            health = f"http://{settings.web_host}:{running.health.port}"
            print_json({"ready": True, "health": health, "roles": [str(role) for role in roles]})

    asyncio.run(running.run(ready))


def up(
    data_dir: Annotated[Path, typer.Option(help="Where Kafka, Redis and worker keep their data.")] = Path(
        "var/aigq"
    ),
    kafka_port: Annotated[int, typer.Option(help="0: any free port.")] = 0,
    redis_port: Annotated[int, typer.Option(help="0: any free port.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> None:
    """Start an embedded Kafka, Redis and a worker, and stay until Ctrl-C. Data survives a restart.

    For development: in production give AIGQ_KAFKA_URL and AIGQ_REDIS_URL to `aigq worker`.
    """
    with embedded_servers(data_dir, kafka_port=kafka_port, redis_port=redis_port) as services:
        settings = load_settings(kafka_url=services.kafka.url, redis_url=services.redis.url)
        with WorkerProcess(data_dir / "worker", services.settings) as running:
            if json:
                print_json({"ready": True, **services.settings, "health": running.health_url})
            else:
                _tell(services.settings, running, settings.bundle_dir)
            while running.is_running and services.kafka.is_running and services.redis.is_running:
                time.sleep(POLL_S)
            raise EmbeddedServerError(
                "The worker, Kafka or Redis ended by itself; the others were stopped.",
                action=f"Read the logs in {data_dir}/*/*.log.",
            )


def _tell(settings: dict[str, str], running: WorkerProcess, bundle_dir: Path) -> None:
    out.print(
        f"[bold green]AIGQ is up[/bold green], with the bundle {escape(str(bundle_dir))}."
        " In another terminal:\n"
    )
    for name, value in settings.items():
        out.print(f"  export {name}={escape(value)}")
    out.print("\n  aigq events sample --out sample.jsonl && aigq replay sample.jsonl")
    out.print("  aigq hints watch hh-98")
    out.print(f"\nHealth: {running.health_url}/ready   metrics: {running.health_url}/metrics")
    out.print("Ctrl-C stops all; the data stays.")
