"""One deny rule: what it is, when it can be used, and how it is written down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import orjson
import re2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.errors import DenyRuleError
from streams.judged_text import judged

RULES_MAX: Final = 20_000
PATTERNS_MAX: Final = 200  # each is tried on each query
TEXT_MAX: Final = 200
PATTERN_MAX: Final = 500
PATTERN_BYTES: Final = 1 << 20
EXCEPTS_MAX: Final = 50
NO_RESULTS: Final = "no_results"  # the reason of rules for queries that the shop has nothing for
ID_BYTES: Final = 5
# A pattern that matches all of these would leave nothing to show.
_PLAIN: Final = ("milk", "bread", "tv", "hot dogs", "soup", "x")
_UNCHANGED: Final = "No rule was added."


class DenyKind(StrEnum):
    """How a rule's text is compared; see streams.deny_rules."""

    EXACT = "exact"
    NORMALISED = "normalised"
    TERM = "term"
    PATTERN = "pattern"


class DenyRule(BaseModel):
    """A rule as it stands in Redis and in files. at_ms: when it was made, wall clock. by: who made it."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    kind: DenyKind
    text: str = Field(min_length=1, max_length=PATTERN_MAX)
    reason: str = Field("", max_length=TEXT_MAX)
    by: str = Field("", max_length=TEXT_MAX)
    at_ms: int = 0
    excepts: tuple[str, ...] = Field((), alias="except", max_length=EXCEPTS_MAX)

    @property
    def id(self) -> str:
        """Stands for kind, text and exceptions: the same rule has the same id, whoever makes it."""
        parts = [self.kind, self.text if self._is_literal else judged(self.text)]
        content = orjson.dumps([*parts, sorted(judged(one) for one in self.excepts)])
        return f"d{hashlib.blake2b(content, digest_size=ID_BYTES).hexdigest()}"

    @property
    def _is_literal(self) -> bool:
        return self.kind in (DenyKind.EXACT, DenyKind.PATTERN)

    def to_json(self) -> bytes:
        """The value in Redis, a line in a file."""
        return orjson.dumps(self.model_dump(by_alias=True))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"id": self.id, **self.model_dump(by_alias=True)}


def checked(rule: DenyRule) -> DenyRule:
    """The rule, if it can be used. Raises DenyRuleError that says why not."""
    if not judged(rule.text) and rule.kind is not DenyKind.PATTERN:
        raise bad_rule(f"A rule needs a text; {rule.text!r} is empty in normal form.", "Name what is denied.")
    if len(rule.text) > TEXT_MAX and rule.kind is not DenyKind.PATTERN:
        raise bad_rule(
            f"A rule's text has at most {TEXT_MAX} characters, this has {len(rule.text)}.", "Shorten it."
        )
    if rule.excepts and rule.kind not in (DenyKind.TERM, DenyKind.PATTERN):
        raise bad_rule(
            f"A rule of kind {rule.kind} has no exceptions.", "Take --kind term, or leave them out."
        )
    if not all(judged(phrase) for phrase in rule.excepts):
        raise bad_rule("An exception is empty in normal form.", "Name the phrase that stays allowed.")
    if rule.kind is DenyKind.PATTERN:
        _check_pattern(rule.text)
    return rule


def limited(rules: Sequence[DenyRule]) -> tuple[DenyRule, ...]:
    """The rules, if there are not too many to be judged in time. Raises DenyRuleError."""
    patterns = sum(rule.kind is DenyKind.PATTERN for rule in rules)
    for count, most, what in ((len(rules), RULES_MAX, "rules"), (patterns, PATTERNS_MAX, "patterns")):
        if count > most:
            raise bad_rule(
                f"{count:,} deny {what} are more than the {most:,} that are judged in time.",
                "Join some to one term or pattern; `aigq deny list` shows them.",
            )
    return tuple(rules)


def made(kind: DenyKind, text: str, **fields: Any) -> DenyRule:
    """A rule, checked. Raises DenyRuleError."""
    try:
        return checked(DenyRule(kind=kind, text=text, **fields))
    except ValidationError as error:
        raise of_validation(error) from error


def rule_from_json(raw: bytes | str) -> DenyRule:
    """Inverse of `DenyRule.to_json`, checked. Raises DenyRuleError."""
    try:
        return checked(DenyRule.model_validate_json(raw))
    except ValidationError as error:
        raise of_validation(error) from error


def of_validation(error: ValidationError) -> DenyRuleError:
    """What pydantic found, in our words."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "value"
    return bad_rule(
        f"No deny rule: {where}: {first['msg']}.", "Compare with a line of `aigq deny list --json`."
    )


def compiled_pattern(text: str) -> Any:
    """The pattern, ready to `search`; capitals match small letters. Raises DenyRuleError."""
    options = re2.Options()
    options.log_errors, options.case_sensitive, options.max_mem = False, False, PATTERN_BYTES
    try:
        return re2.compile(text, options)
    except re2.error as error:
        told = error.args[0].decode("utf-8", "replace") if error.args else "unknown"
        raise bad_rule(
            f"The pattern cannot be used: {told!r}.",
            "Write it in RE2's syntax, without look-around (?=…) and references back \\1.",
        ) from error
    except UnicodeEncodeError as error:
        raise bad_rule("The pattern holds half of a surrogate pair.", "Type it anew.") from error


def _check_pattern(text: str) -> None:
    pattern = compiled_pattern(text)
    if pattern.search(""):
        raise bad_rule(
            "The pattern matches the empty text, so it denies everything.", "Use + for *, or drop |."
        )
    if all(pattern.search(one) for one in _PLAIN):
        raise bad_rule(f"The pattern matches all of {', '.join(_PLAIN)}: it denies everything.", "Say more.")


def bad_rule(what: str, action: str) -> DenyRuleError:
    """The rules are as they were, and this is why."""
    return DenyRuleError(what if what.endswith(_UNCHANGED) else f"{what} {_UNCHANGED}", action=action)
