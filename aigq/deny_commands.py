"""``aigq deny add|remove|list|test|sweep|audit``: what nobody may be shown, and what it withdraws."""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import redis.asyncio
import typer

from agents.deny import withdraw
from agents.deny.verdicts import verdict
from agents.deny.withdraw import Change
from agents.hints.bundle import load_lexicon
from aigq.console import err, out, print_json
from aigq.deny_screen import audit_table, change_text, rules_table, verdict_table
from streams.deny_file import parse_deny_file
from streams.deny_rule import DenyKind, DenyRule, made
from streams.deny_rules import DenyRules
from streams.deny_store import audit as read_audit
from streams.deny_store import read_rules, read_swept
from streams.errors import BundleError, DenyRuleError
from streams.redis_client import connect_redis
from streams.settings import load_settings

T = TypeVar("T")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
By = Annotated[str | None, typer.Option(help="Who decided it. Default: the user of this machine.")]
Bundles = Annotated[
    list[Path] | None, typer.Option("--bundle", help="Bundles in use; default: AIGQ_BUNDLE_DIR.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    deny = typer.Typer(help="What nobody may be shown: rules, and what they withdraw.", no_args_is_help=True)
    deny.command(epilog="Example: aigq deny add wine --except 'wine vinegar' --reason alcohol --dry-run")(add)
    deny.command(epilog="Example: aigq deny remove d1f2e3a4b5")(remove)
    deny.command("list", epilog="Example: aigq deny list --out rules.jsonl")(list_rules)
    deny.command(epilog="Example: aigq deny test 'red wine' 'wine vinegar'")(test)
    deny.command(epilog="Example: aigq deny sweep")(sweep)
    deny.command(epilog="Example: aigq deny audit --last 20")(audit)
    app.add_typer(deny, name="deny")


def add(
    text: Annotated[str | None, typer.Argument(help="What is denied.")] = None,
    kind: Annotated[DenyKind, typer.Option(help="How the text is compared.")] = DenyKind.TERM,
    reason: Annotated[str, typer.Option(help="Why; `no_results`: the shop has nothing for it.")] = "",
    excepts: Annotated[
        list[str] | None, typer.Option("--except", help="A phrase that stays allowed; more than once.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Instead of TEXT: a text or a rule as JSON a line; - reads stdin."),
    ] = None,
    by: By = None,
    bundle: Bundles = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be withdrawn.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Even if it denies half of the bundle.")] = False,
    json: Json = False,
) -> None:
    """Deny queries: readers leave them out at once, and they are taken out of all lists and mappings.

    exact: the text as typed. normalised: the same query in any spelling of case and spaces. term: whole words
    anywhere in a query. pattern: a regular expression of RE2, capitals and small letters alike.
    """
    rules = _rules_of(text, file, kind, excepts or [], reason, by)
    lexicon = _lexicon(bundle)
    if not yes:
        withdraw.check_breadth(rules, lexicon)
    if dry_run:
        change = _with_client(lambda client: withdraw.preview(client, rules, lexicon, _told))
    else:
        change = _with_client(lambda client: withdraw.add(client, rules, lexicon, _told))
    _show(change, rules, json=json, dry_run=dry_run)


def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids as `aigq deny list` shows them.")],
    by: By = None,
    json: Json = False,
) -> None:
    """Remove rules: readers show again what no other rule and no person denies.

    Exit code 1: not all of the rules were there. What was taken out of lists comes back with each
    user's next list; what was taken out of a mapping, with its next version.
    """
    change = _with_client(
        lambda client: withdraw.remove(client, ids, by=_who(by), at_ms=time.time_ns() // 1_000_000)
    )
    _show(change, (), json=json)
    if change.unknown:
        raise typer.Exit(1)


def list_rules(
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write the rules, a line of JSON each.")
    ] = None,
    json: Json = False,
) -> None:
    """List the rules. The file of --out can be given to `aigq deny add --file` and `aigq replay --deny`."""

    async def read(client: redis.asyncio.Redis) -> tuple[int, int, tuple[DenyRule, ...], list[str]]:
        stored = await read_rules(client)
        return stored.version, await read_swept(client), stored.rules, sorted(stored.unreadable)

    version, swept, rules, unreadable = _with_client(read)
    if out_file is not None:
        out_file.write_bytes(b"".join(rule.to_json() + b"\n" for rule in rules))
    if json:
        told = [rule.as_dict() for rule in rules]
        print_json({"version": version, "swept": swept, "rules": told, "unreadable": unreadable})
        return
    out.print(rules_table(rules, unreadable))
    if swept < version:
        out.print("Redis was not swept since the rules changed: [bold]aigq deny sweep[/bold].")


def test(
    queries: Annotated[list[str], typer.Argument(metavar="QUERY", help="What somebody might be shown.")],
    json: Json = False,
) -> None:
    """Say which rule denies a query, and at which gates it is stopped. Changes nothing."""

    async def judge(client: redis.asyncio.Redis) -> list[dict[str, object]]:
        rules = DenyRules((await read_rules(client)).rules)
        return [await verdict(client, query, rules) for query in queries]

    found = _with_client(judge)
    if json:
        print_json({"queries": found})
    else:
        out.print(verdict_table(found))


def sweep(bundle: Bundles = None, by: By = None, json: Json = False) -> None:
    """Withdraw again what the rules deny: after an addition that was cut off, or in a restored Redis."""
    lexicon, started_s = _lexicon(bundle), time.monotonic()
    at_ms = time.time_ns() // 1_000_000
    found = _with_client(lambda client: withdraw.sweep(client, lexicon, _told, by=_who(by), at_ms=at_ms))
    _show(Change(withdrawn=found, seconds=time.monotonic() - started_s), (), json=json)


def audit(
    last: Annotated[int, typer.Option(min=1, help="How many records, the newest last.")] = 50,
    json: Json = False,
) -> None:
    """Show who added and removed what, and what each sweep did. The records are never deleted."""
    found = _with_client(lambda client: read_audit(client, last))
    if json:
        print_json({"records": found})
    else:
        out.print(audit_table(found))


def _rules_of(
    text: str | None, file: Path | None, kind: DenyKind, excepts: list[str], reason: str, by: str | None
) -> list[DenyRule]:
    at_ms, who = time.time_ns() // 1_000_000, _who(by)
    if (text is None) == (file is None):
        raise typer.BadParameter("give either TEXT or --file")
    if file is not None:
        raw = sys.stdin.buffer.read() if str(file) == "-" else _read(file)
        return parse_deny_file(raw, kind=kind, excepts=tuple(excepts), reason=reason, by=who, at_ms=at_ms)
    return [made(kind, text or "", excepts=tuple(excepts), reason=reason, by=who, at_ms=at_ms)]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DenyRuleError(
            f"{file} cannot be read ({error.strerror}). No rule was added.", action="Check path and rights."
        ) from error


def _lexicon(bundles: list[Path] | None) -> list[str]:
    """What the bundles can write; empty where there is none: then queries are found in Redis alone."""
    found: dict[str, int] = {}
    for folder in bundles or [load_settings().bundle_dir]:
        try:
            found |= load_lexicon(folder)
        except BundleError as error:
            if bundles:
                raise
            err.print(f"[dim]No bundle is looked at: {error.message}[/dim]", markup=True)
    return list(found)


def _who(by: str | None) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _with_client(act: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        async with connect_redis(load_settings()) as client:
            return await act(client)

    return asyncio.run(run())


def _told(done: int, kind: str) -> None:
    if err.is_terminal:
        err.print(f"{done:,} keys looked at, now {kind}", end="\r")


def _show(change: Change, rules: list[DenyRule] | tuple[()], *, json: bool, dry_run: bool = False) -> None:
    if json:
        told = [rule.as_dict() for rule in rules]
        print_json({"rules": told, "dry_run": dry_run, **change.as_dict()})
    else:
        out.print(change_text(change, rules, dry_run=dry_run))
