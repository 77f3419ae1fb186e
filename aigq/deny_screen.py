"""What ``aigq deny`` shows people. Texts of others never move the terminal's cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from agents.deny.withdraw import SHOWN, Change
from streams.deny_rule import DenyRule
from streams.harmless_text import harmless


def rules_table(rules: Iterable[DenyRule], unreadable: Sequence[str]) -> Table:
    """A row a rule; rules that this version cannot read by their ids alone."""
    table = Table("id", "kind", "text", "except", "reason", "by", "since")
    for rule in rules:
        texts = (rule.kind, rule.text, ", ".join(rule.excepts), rule.reason, rule.by, _time(rule.at_ms))
        table.add_row(rule.id, *map(_plain, texts))
    for name in unreadable:
        table.add_row(_plain(name), "[bold red]unreadable[/bold red]", "nothing is published with it")
    return table


def verdict_table(found: Iterable[Mapping[str, Any]]) -> Table:
    """A row a query: the rule, and the gates that stop it."""
    table = Table("query", "denied by", "reason", "stopped at")
    for one in found:
        rules = one["rules"]
        names = ", ".join(f"{rule['id']} ({rule['kind']} {rule['text']!r})" for rule in rules)
        why = ", ".join(dict.fromkeys(rule["reason"] for rule in rules if rule["reason"]))
        personal = f"personal data: {one['personal']}" if one["personal"] else ""
        stops = ", ".join(one["gates"]) or "no gate: it may be shown"
        table.add_row(*map(_plain, (one["query"], names or personal or "–", why, stops)))
    return table


def audit_table(found: Iterable[Mapping[str, Any]]) -> Table:
    """A row a record."""
    table = Table("when", "who", "what", "")
    for one in found:
        rule = one.get("rule") or {}
        about = (
            f"{rule.get('id', '')} {rule.get('kind', '')} {rule.get('text', '')!r}" if rule else _counts(one)
        )
        table.add_row(
            *map(_plain, (_time(one.get("at_ms", 0)), one.get("by", ""), one.get("action", "?"), about))
        )
    return table


def change_text(change: Change, rules: Sequence[DenyRule], *, dry_run: bool) -> Group:
    """What was done, or would be."""
    lines = [f"{rule.id}  {rule.kind} {rule.text!r}" for rule in rules[:SHOWN]]
    if len(rules) > SHOWN:
        lines.append(f"… and {len(rules) - SHOWN:,} more rules")
    if change.there:
        lines.append(f"There already: {len(change.there):,} rules; withdrawn again.")
    if change.removed:
        lines.append(
            f"Removed: {', '.join(change.removed)}. Readers may show {change.freed:,} queries again."
        )
    if change.unknown:
        lines.append(f"No such rules: {', '.join(change.unknown)}; `aigq deny list` shows them.")
    if not change.removed and not change.unknown:
        lines += _withdrawn(change, dry_run=dry_run)
    return Group(*(Text(harmless(line)) for line in lines))


def _withdrawn(change: Change, *, dry_run: bool) -> list[str]:
    found, verb = change.withdrawn, "Would withdraw" if dry_run else "Withdrew"
    lines = [
        f"{verb} {found.hints:,} hints from {found.lists:,} lists, {found.entries:,} entries of Think and "
        f"{found.popular:,} popular lists; {found.keys:,} keys looked at in {change.seconds:.1f} s."
    ]
    examples = [f"{query!r} ({count:,})" for query, count in found.queries.most_common(SHOWN)]
    if examples:
        lines.append(f"Queries, each with how many values held it: {', '.join(examples)}")
    lines.append("Nothing was changed." if dry_run else f"New to readers: {found.denied:,} queries.")
    return lines


def _counts(one: Mapping[str, Any]) -> str:
    left_out = ("action", "at_ms", "by")
    return ", ".join(f"{name} {value}" for name, value in one.items() if name not in left_out)


def _plain(text: object) -> str:
    return escape(harmless(str(text)))


def _time(at_ms: Any) -> str:
    try:
        return datetime.fromtimestamp(int(at_ms) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError, TypeError):
        return "?"
