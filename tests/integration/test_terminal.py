"""On a real pseudo-terminal, other people's texts are shown and never obeyed."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from streams.hint_list import Hint, HintList
from streams.hint_store import HintReader
from streams.redis_keys import hints_key
from streams.version import Version
from tests.hostile import QUERIES, TERMINAL
from tests.logs import write_jsonl
from tests.mapping_folders import write_version
from tests.support import event_json

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What rich itself sends around a live screen: other screen, cursor, home.
OWN = re.compile(r"\x1b\[\?(1049|25)[hl]|\x1b\[H")
ACTIVE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]")
ALL = """
import json, sys
from pathlib import Path
from aigq.console import explained
from aigq.main import app
codes = [explained(lambda: app(args=words, prog_name="aigq")) for words in json.loads(sys.argv[1])]
Path(sys.argv[2]).write_text(json.dumps(codes))
"""
DRAW = """
import sys
from rich.live import Live
from aigq.console import out
from aigq.demo_screen import Numbers, Shopper, screen
from aigq.demo_watch import Seen
from streams.hint_list import Hint
from tests.hostile import TERMINAL
numbers = Numbers(1, 2, 1, 0, 0, 1, 1, 1.0, 1.0, None, None, 0, {text: 1 for text in TERMINAL.values()})
cards = [
    Shopper(
        text,
        [{"action_name": "search", "user_query": text}],
        Seen(0.1, True, text),
        [Hint(query=text, score=1.0, source="direct"), Hint(query=text, score=1.0, source="think", why=text)],
    )
    for text in list(TERMINAL.values())[START:][:3]
]
with Live(console=out, screen=True, auto_refresh=False) as view:
    view.update(screen(cards, numbers), refresh=True)
"""


def on_terminal(*command: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """Run with a pseudo-terminal as standard output and error: the exit code, and what the terminal got."""
    ours, theirs = pty.openpty()
    settings = {"COLUMNS": "150", "LINES": "60", "TERM": "xterm-256color", **(environ or {})}
    process = subprocess.Popen(
        [sys.executable, *command], stdout=theirs, stderr=theirs, stdin=theirs, env={**os.environ, **settings}
    )
    os.close(theirs)
    got = bytearray()
    try:
        while chunk := os.read(ours, 65_536):
            got += chunk
    except OSError:  # how a pseudo-terminal says that nobody writes any more
        pass
    finally:
        os.close(ours)
    return process.wait(), got.decode()


def all_on_terminal(
    commands: list[list[str]], folder: Path, environ: dict[str, str] | None = None
) -> tuple[list[int], str]:
    """Commands one after another in one process: their exit codes, and what the terminal got."""
    codes = folder / "codes"
    _, screen = on_terminal("-c", ALL, orjson.dumps(commands).decode(), str(codes), environ=environ)
    return orjson.loads(codes.read_bytes()), screen


def left_over(screen: str) -> set[str]:
    """Active characters that are not our own colours, live screen or line ends."""
    return set(ACTIVE.findall(OWN.sub("", COLOUR.sub("", screen)).replace("\r\n", "\n")))


@pytest.fixture
def shown_to(redis_url: str) -> str:
    """A user whose list in Redis is full of harm."""
    user = f"screen-{time.time_ns()}\x1b[2J"
    hints = tuple(Hint(query=text, score=0.5, source="direct", why=text) for text in QUERIES.values())
    version = str(Version(1_512_129_600_000, 1))
    evil = TERMINAL["clears the screen"]
    made = HintList(
        version=version, list_id="l1", user=user, as_of=1_512_129_600_000, generated_at=1, reason=evil,
        drift=0.5, trigger=evil, triggers=(evil,), bundle=evil, hints=hints,
    )  # fmt: skip
    with HintReader.from_url(redis_url) as reader:
        reader._client.lpush(hints_key(user), made.to_json())
    return user


@pytest.mark.parametrize("options", [["--explain"], ["--json"], []])
def test_hints_get_shows_hostile_queries_without_obeying_them(
    redis_url: str, shown_to: str, options: list[str]
) -> None:
    environ = {"AIGQ_REDIS_URL": redis_url}
    code, screen = on_terminal(
        "-m", "aigq.main", "hints", "get", shown_to, "--limit", "50", *options, environ=environ
    )
    assert code == 0, screen
    assert left_over(screen) == set()
    assert "evil.example" in screen  # as text; a link would have been obeyed
    assert r"\x1b[2J" in screen or r"\u001b[2J" in screen


@pytest.mark.parametrize("start", range(0, len(TERMINAL), 3))
def test_the_demos_screen_shows_hostile_titles_without_obeying_them(start: int) -> None:
    code, screen = on_terminal("-c", DRAW.replace("START", str(start)))
    assert code == 0, screen
    assert left_over(screen) == set()


def test_hostile_values_in_a_log_line_are_shown_and_begin_no_other_line(tmp_path: Path) -> None:
    script = tmp_path / "log.py"
    script.write_text(
        "import logging, structlog\n"
        "from streams.logs import configure_logs\n"
        "from tests.hostile import TERMINAL, QUERIES\n"
        "configure_logs('debug')\n"
        "for text in QUERIES.values():\n"
        "    structlog.get_logger().warning(text, value=text, many=[text], **{text: 1})\n"
        "    logging.getLogger('kafka').warning('%s', text)\n"
        "    try:\n"
        "        raise ValueError(text)\n"
        "    except ValueError:\n"
        "        logging.getLogger('kafka').exception(text)\n"
    )
    code, screen = on_terminal(str(script), environ={"PYTHONPATH": str(Path.cwd())})
    assert code == 0, screen
    assert left_over(screen) == set()


def test_a_wrong_argument_is_told_without_obeying_it(tmp_path: Path) -> None:
    evil = TERMINAL["clears the screen"]
    wrong = [["hints", "get", "u", "--limit", evil], [evil], ["hints", evil], ["bundle", "verify", evil]]
    codes, screen = all_on_terminal(wrong, tmp_path)
    assert codes == [2, 2, 2, 3], screen
    assert left_over(screen) == set()


def test_a_terminal_without_utf_8_gets_escapes_and_no_traceback(redis_url: str, shown_to: str) -> None:
    environ = {"AIGQ_REDIS_URL": redis_url, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    code, screen = on_terminal("-m", "aigq.main", "hints", "get", shown_to, environ=environ)
    assert code == 0, screen
    assert "Traceback" not in screen


@pytest.fixture
def hostile_log(tmp_path: Path) -> Path:
    """A log with harm where a report could repeat it: actions, fields, times."""
    good = event_json(user="u1")
    rows = [
        row
        for text in TERMINAL.values()
        for row in (good | {"action_name": text[:60]}, good | {"timestamp": text}, good | {"consent": text})
    ]
    return write_jsonl(tmp_path / "log\x1b[2J.jsonl", [*rows, b'{"' + TERMINAL["C1 control"].encode()])


@pytest.fixture
def hostile_mapping(tmp_path: Path) -> Path:
    """A mapping whose triggers and queries are harm."""
    texts = list(TERMINAL.values())
    root = tmp_path / "think"
    write_version(root, {f"milk {text}": texts for text in texts}, texts, version="v1")
    write_version(root, {f"milk {text}": texts[:2] for text in texts[:-1]}, texts, version="v2")
    return root


def test_reports_on_hostile_logs_and_mappings_obey_nothing(
    hostile_log: Path, hostile_mapping: Path, tmp_path: Path
) -> None:
    evil = TERMINAL["clears the screen"]
    root = ["--root", str(hostile_mapping)]
    words = [
        ["events", "validate", str(hostile_log)],
        ["events", "validate", str(hostile_log), "--json"],
        ["events", "validate", evil],
        ["think", "show", f"milk {evil}", "--version", "v1", *root],
        ["think", "diff", "v1", "v2", *root],
        ["think", "diff", "v1", "v2", *root, "--json"],
        ["think", "lint", str(hostile_mapping), "--version", "v1"],
        ["doctor", "--settings"],
        ["data", "show", evil],
    ]
    codes, screen = all_on_terminal(words, tmp_path, {"AIGQ_WORKER_NAME": evil})
    assert codes == [1, 1, 6, 0, 0, 0, 1, 0, 6], screen
    assert "Traceback" not in screen
    assert left_over(screen) == set()
