"""The program's commands, to hold documents and help texts against."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from typer.main import get_command

from aigq.main import app


@lru_cache(maxsize=1)
def _program() -> Any:
    return get_command(app)


def leaves(command: Any = None, path: tuple[str, ...] = ("aigq",)) -> Iterator[tuple[str, Any]]:
    """("aigq hints get", command) of every command that does something."""
    command = command or _program()
    children = getattr(command, "commands", None)
    if not children:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from leaves(child, (*path, name))


def groups(command: Any = None, path: tuple[str, ...] = ("aigq",)) -> Iterator[tuple[str, Any]]:
    """The program and its groups of commands."""
    command = command or _program()
    if getattr(command, "commands", None):
        yield " ".join(path), command
        for name, child in command.commands.items():
            yield from groups(child, (*path, name))


def fault_in(words: list[str]) -> str:
    """What is wrong with a shown ``aigq …`` command; empty: nothing."""
    command: Any = _program()
    rest = words[1:]
    while rest and getattr(command, "commands", None) and rest[0] != "--help":
        name = rest.pop(0)
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in known]
    return f"no option {', '.join(unknown)}" if unknown else ""
