"""Deny rules in files: for `aigq deny add --file`, for offline replay, and for the review of mappings.

A line is a rule as JSON, as `aigq deny list --out` writes it, or a text, which becomes a rule of one kind.
Empty lines and those that begin with # are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from streams.deny_rule import DenyKind, DenyRule, bad_rule, checked, limited, made, of_validation
from streams.deny_rules import DenyRules
from streams.errors import DenyRuleError


def read_deny_file(path: Path) -> DenyRules:
    """The file's rules, its plain lines as terms. Raises DenyRuleError."""
    try:
        return DenyRules(parse_deny_file(path.read_bytes()))
    except OSError as error:
        raise bad_rule(
            f"The deny file {path} cannot be read ({error.strerror}).",
            "Give a text file, a term a line.",
        ) from error


def parse_deny_file(raw: bytes, *, kind: DenyKind = DenyKind.TERM, **fields: Any) -> list[DenyRule]:
    """A deny file's rules, each once; a plain line is of `kind`, with `fields` (reason, by, at_ms).

    Raises DenyRuleError that names the line.
    """
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise bad_rule(f"The deny file is not UTF-8 ({error.reason}).", "Save it as UTF-8.") from error
    found: dict[str, DenyRule] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            rule = _of_line(line, number, kind, fields)
            found.setdefault(rule.id, rule)
    return list(limited(list(found.values())))


def terms(texts: Iterable[str]) -> list[DenyRule]:
    """Each text as a term without reason or name."""
    return [checked(DenyRule(kind=DenyKind.TERM, text=text)) for text in texts]


def _of_line(line: str, number: int, kind: DenyKind, fields: dict[str, Any]) -> DenyRule:
    try:
        if not line.lstrip().startswith("{"):
            return made(kind, line.strip(), **fields)
        told: dict[str, Any] = orjson.loads(line)
        given = {name: value for name, value in fields.items() if name != "excepts"}
        return checked(DenyRule.model_validate(given | told))
    except DenyRuleError as error:
        raise bad_rule(f"Line {number}: {error.message}", error.action) from error
    except ValidationError as error:
        raise bad_rule(f"Line {number}: {of_validation(error).message}", "Correct the line.") from error
    except orjson.JSONDecodeError as error:
        raise bad_rule(f"Line {number} begins like JSON and is none: {error.msg}.", "Correct it.") from error
