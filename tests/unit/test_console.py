"""How a command leaves when files, pipes and terminals are not what it hoped for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

from aigq.console import HarmlessConsole, explained
from streams.harmless_text import harmless
from tests.hostile import TERMINAL


def test_a_file_that_cannot_be_written_is_told_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(lambda: (tmp_path / "none" / "file\x1b[2J").write_bytes(b"x")) == 1
    told = capsys.readouterr().err.replace("\n", "")
    assert "No such file or directory" in told and r"file\x1b[2J" in told and "What to do" in told


def test_whoever_stops_reading_gets_no_traceback() -> None:
    program = [sys.executable, "-m", "aigq.main", "events", "schema"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.parametrize("text", TERMINAL.values())
def test_an_active_character_is_shown_at_its_place_with_its_style(text: str) -> None:
    console = HarmlessConsole(width=200, force_terminal=True)
    styled = Text.assemble("a ", (text, "bold"), " z")
    parts = [segment for segment in console.render(styled) if segment.text != "\n"]
    assert "".join(one.text for one in parts if one.style and one.style.bold) == harmless(Text(text).plain)
    assert "".join(one.text for one in parts if not (one.style and one.style.bold)) == "a  z"


def test_markup_of_others_in_a_string_is_no_error_and_no_link() -> None:
    console = HarmlessConsole(width=200)
    for text in ("[/nothing]", "[link=http://evil.example]x[/link]", ":smile:"):
        segments = list(console.render(text))
        assert not any(segment.style and segment.style.link for segment in segments)
    told = "".join(segment.text for segment in console.render("[/nothing] :smile:"))
    assert told.strip() == "[/nothing] :smile:"
