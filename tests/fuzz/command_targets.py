"""What a person types: settings in the environment, and arguments of every command."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from atexit import register
from functools import cache
from pathlib import Path
from typing import Any, Final

import typer
from typer.main import get_command

from aigq.console import explained
from aigq.main import app
from streams import redaction
from streams.errors import SettingsError
from streams.settings import PREFIX, Settings, load_settings
from tests.docs.command_tree import leaves
from tests.fuzz.target import Target, must
from tests.hostile import IDS, TERMINAL

EXIT_CODES: Final = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 8, 130})
# Run as they are; of the others only the arguments are read, since they start servers or train for hours.
LIGHT: Final = (
    *("events validate", "events schema", "hints get", "bundle verify", "data show", "doctor --settings"),
    *("think show --version", "think lint", "think diff", "replay --offline", "user receipts --file"),
    *("evaluate --data", "think load --root", "think build"),
)
ClickException: Final = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")
CUT: Final = b"\0"  # no argument and no variable can hold it
WAIT_S: Final = "0.2"


def run_settings(data: bytes) -> None:
    """Lines NAME=value: settings of the right types, or a SettingsError."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    environ = dict(line.partition("=")[::2] for line in lines if line)
    environ |= {f"AIGQ_{name}": value for name, value in list(environ.items()) if not name.startswith(PREFIX)}
    for given in (environ, {name: value for name, value in environ.items() if name.startswith(PREFIX)}):
        try:
            settings = load_settings(given)
        except SettingsError as error:
            must(error.message and error.action, "an error says what to do")
            continue
        must(settings.partitions >= 1 and settings.kafka_bootstrap is not None, "settings are sound")
        must(repr(settings), "settings can be shown")
    redaction._known.clear()  # or every later text would be looked through for every input's secret


def run_arguments(data: bytes) -> None:
    """The first byte names the command, the rest are its arguments: a documented exit code, no traceback."""
    number, *rest = data.split(CUT)
    words = [os.fsdecode(word) for word in rest]
    _parse(COMMANDS[(number or b"\0")[0] % len(COMMANDS)], words)
    light = LIGHT[(number or b"\0")[-1] % len(LIGHT)].split()
    before = dict(os.environ)
    folder = Path.cwd()
    os.environ.update(_environ())
    os.chdir(_empty())
    try:
        code = explained(lambda: PROGRAM(args=[*light, *words[:6]], prog_name="aigq"))
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)
    must(code in EXIT_CODES, f"exit code {code}")


def _parse(path: str, words: list[str]) -> None:
    """Arguments to values, without running anything."""
    command = PROGRAM
    names = path.split()[1:]
    try:
        for name in names[:-1]:
            command = command.commands[name]
        command.commands[names[-1]].make_context(names[-1], words[:6])
    except (ClickException, typer.Exit, typer.Abort):
        return


@cache
def _empty() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="aigq-fuzz-"))
    register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _environ() -> dict[str, str]:
    """Settings whose Kafka and Redis refuse at once: a port that we hold and never listen on."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    register(taken.close)
    port = taken.getsockname()[1]
    return {
        "AIGQ_KAFKA_URL": f"kafka://127.0.0.1:{port}",
        "AIGQ_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "AIGQ_REDIS_TIMEOUT_S": WAIT_S,
        "COLUMNS": "80",
    }


PROGRAM: Final[Any] = get_command(app)
COMMANDS: Final = tuple(path for path, _ in leaves())
HOSTILE: Final = tuple(
    text.encode("utf-8", "surrogateescape")
    for text in (
        *(one.replace("\0", "") for one in (*IDS.values(), *TERMINAL.values())),
        *("-", "--", "--help", "--json", "--limit=١", "--limit=1e400", "--limit=-1", "x" * 5000, "/", "."),
        *(
            "/dev/null",
            "/proc/self/mem",
            "/no/such/folder/none",
            "a/" * 300,
            "\udcff\udcfe",
            "--out=/dev/full",
            "NaN",
            "",
        ),
    )
)


def _argument_seeds() -> list[bytes]:
    return [bytes([number % 256]) + CUT + word for number, word in enumerate(HOSTILE * 3)]


def _settings_seeds() -> list[bytes]:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    lines = [f"AIGQ_{name.upper()}={value}" for name, value in defaults.items() if value is not None]
    secret = ["AIGQ_KAFKA_PASSWORD=hunter2", "AIGQ_REDIS_URL=rediss://u:hunter2@h:1/0"]
    files = [f"AIGQ_REDIS_PASSWORD_FILE={path}" for path in ("/", "/dev/null", "/bin/sh", "x" * 5000)]
    few = [[line] for line in (*lines, *secret, *files)]
    return ["\n".join(one).encode() for one in ([*lines, *secret], *few)]


TARGETS: Final = {
    one.name: one
    for one in (
        Target("settings", run_settings, _settings_seeds(), in_ci=300, share=0.05),
        Target("arguments", run_arguments, _argument_seeds(), in_ci=150, share=0.003),
    )
}
