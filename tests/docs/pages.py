"""The project's Markdown pages as the tests read them: links, tables, names in backticks, shell commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "exported_models", "benchmarks", "streams", "agents", "training", "docker")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every page of ours; nothing that was installed or written by a run."""
    found = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
    return sorted(page for page in found if "node_modules" not in page.parts)


def name_of(page: Path) -> str:
    """Path from the root, for test ids."""
    return str(page.relative_to(ROOT))


def text_of(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of one language."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


def without_blocks(text: str) -> str:
    """The text without fenced blocks."""
    return FENCE.sub("", text)


def section(text: str, heading: str) -> str:
    """From below a heading to the next of the same or a higher level."""
    match = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,6}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"no heading {heading!r}"
    level, start = len(match[1]), match.start(2)
    end = re.search(rf"^#{{1,{level}}} ", text[start:], re.MULTILINE)
    return text[start : start + end.start()] if end else text[start:]


def rows(text: str) -> list[list[str]]:
    """Cells of every table row, heads and rulers left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {place - 1 for place, line in enumerate(lines) if re.fullmatch(r"[|:\- ]+", line)}
    kept = (
        line
        for place, line in enumerate(lines)
        if place not in heads and place + 1 not in {h + 2 for h in heads}
    )
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in kept
    ]


def ticked(text: str) -> list[str]:
    """What stands in backticks on one line."""
    return re.findall(r"`([^`\n]+)`", text)


def first_names(text: str) -> list[str]:
    """The first backticked name of each row."""
    return [ticked(row[0])[0] for row in rows(text) if ticked(row[0])]


def anchors(text: str) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    heads = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def links(text: str) -> list[str]:
    """Targets of all links but web addresses."""
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", without_blocks(text))
    return [target for target in found if not re.match(r"[a-z]+://", target)]


def shown_commands(text: str) -> Iterator[list[str]]:
    """Words of each command in the page's shell blocks, and of the `aigq …` and `make …` in its sentences."""
    for block in blocks(text, "sh"):
        for line in block.splitlines():
            yield from commands_of(line)
    for code in ticked(without_blocks(text)):
        if code.startswith(("aigq ", "make ")):
            yield from commands_of(code)


def commands_of(line: str) -> Iterator[list[str]]:
    """The simple commands of a shell line, without settings before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in (*lexer, ";"):
        if set(word) <= set("();<>|&"):
            command = [w for place, w in enumerate(words) if any("=" not in v for v in words[: place + 1])]
            if command:
                yield command
            words = []
        else:
            words.append(word)
