"""An entry on the terminal: what is known of it, what was checked, what follows; and the closing tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.harmless_text import harmless

if TYPE_CHECKING:
    from training.think.points import Evidence
    from training.think.review.alignment import Alignment
    from training.think.review.decisions import Action, Decision, Factor

VERDICT_STYLES: Final = {"approve": "green", "reject": "red", "request_information": "yellow"}
VERDICT_NAMES: Final = {"approve": "approved", "reject": "rejected", "request_information": "undecided"}


def render_entry(decision: Decision, place: int, count: int) -> RenderableType:
    """Entry `place` of `count`."""
    one = decision.proposal
    head = Text(f"\n{place}/{count}  ", style="dim")
    head.append(harmless(one.trigger), style="bold").append(" → ")
    head.append(harmless(one.query), style="bold cyan")
    head.append(f"   {one.kind}, {harmless(one.category) or 'no category'}", style="dim")
    says = Text(f"{harmless(', '.join(one.makers))}, relevance {one.relevance:.3f}", style="dim")
    if one.rationale:
        says.append(f": {harmless(one.rationale)}")
    return Group(head, says, *_known(one.evidence), _steps(decision), _verdict(decision))


def render_summary(summary: Mapping[str, Any], folder: str) -> RenderableType:
    """How many of each."""
    line = Text(f"{summary['decisions']:,} decisions on {summary['triggers']:,} triggers: ")
    parts = [
        (f"{summary['verdicts'].get(verdict, 0):,} {name}", VERDICT_STYLES[verdict])
        for verdict, name in VERDICT_NAMES.items()
    ]
    for place, (part, style) in enumerate(parts):
        line.append(", " if place else "").append(part, style=style)
    by = ", ".join(f"{name} {count:,}" for name, count in summary["by"].items())
    line.append(f"\nDecided by {by or 'nobody'}.")
    if summary["missing"]:
        missing = ", ".join(f"{name} ({count:,})" for name, count in summary["missing"].items())
        line.append(f"\nChecks that were not run: {missing}.")
    return line.append(f"\n{folder}", style="dim")


def render_alignment(found: Alignment) -> RenderableType:
    """The table of the held-out triggers; says that the reviewer is simulated."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.title = f"Alignment with the {found.reviewer} on held-out triggers"
    table.add_column("review")
    for name in ("aligned", "95 %", "decided otherwise", "left open", "of the decided", "changed"):
        table.add_column(name, justify="right")
    for row in found.rows:
        decided = row.share.value / max(1 - row.open, 1e-9)
        table.add_row(
            row.name,
            f"{row.share.value:.1%}",
            f"{row.share.low:.1%} to {row.share.high:.1%}",
            f"{row.wrong:.1%}",
            f"{row.open:.1%}",
            f"{decided:.1%}",
            f"{row.changed:,}" if row.changed else "",
        )
    told = (
        f"{found.cases:,} cases of {found.triggers:,} triggers; the reviewer approves {found.approved:.1%}."
    )
    note = "No person took part: the reviewer is a stand-in (training/think/review/simulated_reviewer.py)."
    return Group(table, Text(told), Text(note, style="bold"))


def _known(evidence: Evidence | None) -> Iterator[Text]:
    if evidence is None:
        yield Text("  evidence   none", style="yellow")
        return
    yield Text(
        f"  evidence   {evidence.baskets:,} baskets with both, {evidence.after:,} after, "
        f"{evidence.households:,} households; of {evidence.trigger_baskets:,} with the trigger and "
        f"{evidence.query_baskets:,} with the query"
    )
    click = "" if evidence.click is None else f", click {evidence.click:.3f}"
    examples = ", ".join(harmless(one) for one in evidence.examples) or "none"
    yield Text(
        f"             {evidence.lift:.2f} times chance, newest {evidence.newest_days} days old, similarity "
        f"{evidence.similarity:.2f}{click}; baskets: {examples}"
    )


def _steps(decision: Decision) -> Table:
    """Actions, then factors."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    for column in ("", "", "", "what"):
        table.add_column(column, overflow="fold")
    for action in decision.actions:
        table.add_row("  action", action.name, _state(action), Text(harmless(action.detail)))
    for factor in decision.factors:
        table.add_row("  factor", factor.name, _weighed(factor), Text(harmless(factor.detail)))
    return table


def _state(action: Action) -> Text:
    if not action.ran:
        return Text("not run", style="yellow")
    return Text("passed", style="green") if action.passed else Text("failed", style="red")


def _weighed(factor: Factor) -> Text:
    style = "green" if factor.value > 0 else "red" if factor.value < 0 else "dim"
    weight = "decisive" if factor.decisive else f"× {factor.weight:g}"
    return Text(f"{factor.value:+.2f} {weight}", style=style)


def _verdict(decision: Decision) -> Text:
    name = VERDICT_NAMES[decision.verdict]
    line = Text("  decision   ").append(name, style=f"bold {VERDICT_STYLES[decision.verdict]}")
    return line.append(f" by {decision.by}: {harmless(decision.reason)}")
