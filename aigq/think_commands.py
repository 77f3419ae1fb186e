"""``aigq think``: its commands stand in a file for each part of the way to a served mapping."""

from __future__ import annotations

import typer

from aigq import (
    think_audit_commands,
    think_mine_commands,
    think_reason_commands,
    think_review_commands,
    think_train_commands,
    think_version_commands,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    think = typer.Typer(help="Trigger → queries mappings, made offline.", no_args_is_help=True)
    think_version_commands.register(think)
    think_mine_commands.register(think)
    think_train_commands.register(think)
    think_reason_commands.register(think)
    think_review_commands.register(think)
    think_audit_commands.register(think)
    app.add_typer(think, name="think")
