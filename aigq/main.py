"""The program ``aigq``: one command for each thing a shop does with AIGQ."""

from __future__ import annotations

import os
import sys

# Before anything may import onnxruntime: since 1.29 it sends telemetry unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import typer

from aigq import (
    bench_command,
    bundle_commands,
    data_commands,
    demo_command,
    deny_commands,
    doctor_command,
    evaluate_command,
    event_commands,
    hint_commands,
    replay_command,
    service_commands,
    signing_commands,
    think_commands,
    training_commands,
    user_commands,
)
from aigq.console import EXIT_CODES, explained

app = typer.Typer(
    name="aigq",
    help="Hints before anybody types: shop events in from Kafka, generated hint lists out to Redis.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
demo_command.register(app)
service_commands.register(app)
replay_command.register(app)
event_commands.register(app)
hint_commands.register(app)
deny_commands.register(app)
think_commands.register(app)
user_commands.register(app)
data_commands.register(app)
training_commands.register(app)
evaluate_command.register(app)
bundle_commands.register(app)
bench_command.register(app)
doctor_command.register(app)
signing_commands.register(app)


def run() -> None:
    """Entry point of the ``aigq`` script."""
    sys.exit(explained(app))


if __name__ == "__main__":
    run()
