"""Mapping versions as people read them: findings of lint, a diff, what is served. Only rich renderables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agents.think.mapping import LoadOutcome, LoadReport
from agents.think.old_versions import Leftovers
from aigq.think_serving import ServedEntry, ServedQuery, ServedState
from training.think.versions.findings import Finding
from training.think.versions.version_diff import Changed, Coverage, VersionDiff


def render_findings(findings: Sequence[Finding], folder: str) -> RenderableType:
    """All findings, and PASS or FAIL last."""
    problems = [one for one in findings if one.level == "problem"]
    verdict = Text("FAIL" if problems else "PASS", style="bold red" if problems else "bold green")
    warnings = len(findings) - len(problems)
    told = f"  {folder}: {_count(len(problems), 'problem')}, {_count(warnings, 'warning')}"
    verdict.append(told, style="not bold default")
    if not findings:
        return verdict
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "finding", "cases", "first", "what"):
        table.add_column(name, justify="right" if name == "cases" else "left", overflow="fold")
    for one in findings:
        style = "red" if one.level == "problem" else "yellow"
        where, what = Text(one.where), Text(one.what)
        table.add_row(Text(one.level, style=style), one.name, f"{one.count:,}", where, what)
    return Group(table, verdict)


def render_load(done: LoadReport) -> RenderableType:
    """What a load did, and what can be done next."""
    version, triggers = done.version, f"{done.triggers:,} triggers"
    before = f"A rollback finds {done.previous}." if done.previous else "There is none to roll back to."
    removed = f" Deleted in Redis: {', '.join(done.removed)}." if done.removed else ""
    told = {
        LoadOutcome.LOADED: f"is served now: {triggers}. {before}{removed}",
        LoadOutcome.UNCHANGED: f"was served already, whole: {triggers}. {before}",
        LoadOutcome.BUSY: "was not loaded: another loader is at work. Look again with `aigq think show`.",
        LoadOutcome.HELD: f"is served on: {triggers}. People decided against the one that current.json "
        "names; `aigq think promote VERSION` is how to serve it all the same.",
        LoadOutcome.STAGED: f"is in Redis as a whole, and not served: {triggers}.\n"
        f"Now: aigq think canary {version} --share 0.1, or aigq think promote {version}",
    }
    return Text.assemble("Mapping ", (version, "bold"), f" {told[done.outcome]}")


def render_leftovers(found: Leftovers, folder: str, *, deleted: bool) -> RenderableType:
    """What goes and what stays, with the reason."""
    did = "Deleted" if deleted else "Would delete"
    rows = {
        f"{did} in Redis": ", ".join(found.stored) or "nothing",
        f"{did} in {folder}": ", ".join(found.folders) or "nothing",
        "Kept": ", ".join(f"{name} ({why})" for name, why in found.kept.items()) or "nothing",
    }
    table = _facts(rows)
    if deleted or not (found.stored or found.folders):
        return table
    return Group(table, Text("Nothing was deleted. Again with --yes to delete."))


def render_diff(diff: VersionDiff) -> RenderableType:
    """Coverage side by side, counts, and what changed most."""
    coverage = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", diff.before.version, diff.after.version, "change"):
        coverage.add_column(name, justify="right" if name else "left")
    for name in ("triggers", "entries", "queries", "categories", "popular"):
        coverage.add_row(name, *_side_by_side(name, diff.before, diff.after))
    counts = Text(
        f"triggers: {diff.new_triggers:,} new, {diff.gone_triggers:,} gone, {diff.kept_triggers:,} in both, "
        f"of these {diff.unchanged_triggers:,} unchanged; mean change of those in both "
        f"{diff.mean_change:.3f} (0: same lists, 1: nothing in common)\n"
        f"entries: {diff.new_entries:,} new, {diff.gone_entries:,} gone; "
        f"queries: {diff.new_queries:,} new, {diff.gone_queries:,} gone"
    )
    lists = [
        Text(f"{name}: {', '.join(values)}")
        for name, values in (
            ("new triggers", diff.new),
            ("gone triggers", diff.gone),
            ("new popular", diff.new_popular),
            ("gone popular", diff.gone_popular),
        )
        if values
    ]
    return Group(coverage, counts, *lists, *([_changed(diff.changed_most)] if diff.changed_most else []))


def render_pointer(state: ServedState) -> RenderableType:
    """Which versions are served, which are in Redis, which in the folder."""
    rows: dict[str, str] = {"served": "nothing: no mapping was loaded"}
    pointer = state.pointer
    if pointer:
        rows["served"] = f"{pointer['version']} ({pointer['triggers']:,} triggers)"
        canary = pointer["canary"]
        if canary:
            rows["canary"] = f"{canary['version']}, seen by {canary['share']:.1%} of the users"
        rows["a rollback finds"] = pointer["previous"] or "nothing"
        rows["held, followed by no loader"] = ", ".join(pointer["held"])
    rows["in Redis"] = ", ".join(f"{name} ({how})" for name, how in state.stored.items())
    rows[f"in {state.folder}"] = ", ".join(state.folders)
    rows["current.json names"] = state.named
    return _facts(rows)


def render_entry(entry: ServedEntry) -> RenderableType:
    """A trigger's queries, best first, with their evidence and who approved them."""
    trial = ", on trial" if entry.trial else ""
    head = Text(f"{entry.trigger}", style="bold").append(
        f"  version {entry.version}{trial}, from {entry.place}", style="not bold dim"
    )
    if not entry.queries:
        return Group(head, Text("leads to nothing"))
    return Group(head, *(_query(place, one) for place, one in enumerate(entry.queries, 1)))


def _query(place: int, one: ServedQuery) -> Text:
    line = Text(f"{place:2}  ").append(one.query, style="bold")
    line.append(f"  {one.score:.3f}" + (f"  {one.category}" if one.category else ""), style="dim")
    for reason in why(one.proof):
        line.append(f"\n    {reason}")
    return line


def why(proof: dict[str, Any] | None) -> list[str]:
    """Evidence and decision in sentences; `proof`: a line of evidence.jsonl."""
    if proof is None:
        return ["no evidence in the folder"]
    one = proof["evidence"]
    found = [
        f"in {one['baskets']:,} of its {one['trigger_baskets']:,} baskets, {one['lift']:.2f} times chance, "
        f"{one['households']:,} households; newest {one['newest_days']} days before the end",
        f"relevance {proof['relevance']:.2f}, business {proof['efficiency']:.2f}; "
        f"proposed by {', '.join(proof['makers'])}",
        f"approved by {proof['review']['by']}: {proof['review']['reason']}",
    ]
    return [*found, *([f"because: {proof['rationale']}"] if proof["rationale"] else [])]


def _facts(rows: dict[str, str]) -> Table:
    """Names and values; what is empty is left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(Text(name), Text(value))
    return table


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _side_by_side(name: str, before: Coverage, after: Coverage) -> tuple[str, str, str]:
    old, new = getattr(before, name), getattr(after, name)
    return f"{old:,}", f"{new:,}", f"{new - old:+,}"


def _changed(changed: Sequence[Changed]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Changed most", title_justify="left")
    for name in ("trigger", "change", "before", "after"):
        table.add_column(name, overflow="fold")
    for one in changed:
        before, after = ", ".join(one.before), ", ".join(one.after)
        table.add_row(Text(one.trigger), f"{one.change:.2f}", Text(before), Text(after))
    return table
