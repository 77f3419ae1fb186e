"""The program explains itself: every command has help with an example that would run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from aigq.console import EXIT_CODES, explained
from aigq.main import app
from streams import errors
from streams.errors import AigqError, StoreUnavailableError
from tests.docs.command_tree import fault_in, groups, leaves
from tests.docs.pages import commands_of

ISSUED = {
    *("aigq demo", "aigq up", "aigq worker", "aigq replay", "aigq export", "aigq doctor"),
    *("aigq data build", "aigq data show", "aigq reproduce", "aigq evaluate"),
    *("aigq train base", "aigq train ranker", "aigq train sft", "aigq train grpo", "aigq train daily"),
    *("aigq events validate", "aigq events schema", "aigq events sample"),
    *("aigq hints get", "aigq hints watch", "aigq think load", "aigq bundle verify"),
}
every_command = pytest.mark.parametrize(("path", "command"), list(leaves()))


def test_every_promised_command_is_there() -> None:
    assert {path for path, _ in leaves()} >= ISSUED


@every_command
def test_help_is_shown_and_says_what_the_command_does(path: str, command: Any) -> None:
    shown = CliRunner().invoke(app, [*path.split()[1:], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert command.help and command.help.splitlines()[0] in " ".join(shown.output.split())
    assert "Example" in shown.output


@every_command
def test_the_example_in_the_help_would_run(path: str, command: Any) -> None:
    examples = list(_examples(command.epilog))
    assert any(" ".join(words).startswith(path) for words in examples), command.epilog
    for words in examples:
        assert not fault_in(words), f"{' '.join(words)}: {fault_in(words)}"


@every_command
def test_every_argument_that_must_be_given_is_explained(path: str, command: Any) -> None:
    silent = [part.name for part in command.params if part.required and not part.help]
    assert not silent, f"{path} does not explain {silent}"


@pytest.mark.parametrize(("path", "group"), list(groups()))
def test_every_group_says_what_it_is_for(path: str, group: Any) -> None:
    assert group.help, path


def test_the_exit_codes_of_all_errors_stand_in_the_programs_help() -> None:
    listed = {int(code) for code in re.findall(r"(?:·|:)\s+(\d+) ", EXIT_CODES)}
    raised = {kind.exit_code for kind in vars(errors).values() if _is_error(kind)}
    assert raised | {0, 1, 2, 130} == listed


def test_an_error_leaves_with_its_code_and_two_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise StoreUnavailableError("Redis is away.", action="Look at it.")

    assert explained(fail) == 4
    told = capsys.readouterr()
    assert "Redis is away." in told.err
    assert "Look at it." in told.err
    assert not told.out


def test_a_wrong_option_leaves_with_two() -> None:
    assert CliRunner().invoke(app, ["doctor", "--no-such-thing"]).exit_code == 2


def _examples(epilog: str | None) -> Iterator[list[str]]:
    """The commands of "Example: a" or "Examples: a · b (or: c)"."""
    assert epilog
    text = re.sub(r"^Examples?:", "", epilog.replace("…", ""))
    for part in re.split(r"·|\(or:|\((?=[A-Z])", text):
        yield from (words for words in commands_of(part.strip().removesuffix(")")) if words[0] == "aigq")


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, AigqError)
