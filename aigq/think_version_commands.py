"""``aigq think build|lint|diff|show``: mapping versions in their folder, and what is served of them."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from agents.think.version_folder import read_current
from aigq import think_serving_commands
from aigq.console import out, print_json
from aigq.extras import extras
from aigq.think_reports import render_diff, render_entry, render_findings, render_pointer
from aigq.think_serving import served_entry, served_state
from streams.settings import load_settings
from streams.signed_manifests import trusted_keys
from training.progress import progress
from training.think.versions.lint import lint_folder
from training.think.versions.version_diff import LIMIT, diff_versions

if TYPE_CHECKING:
    from training.think.versions.build_version import BuildSettings
    from training.think.versions.mapping_version import PopularQuery

Root = Annotated[Path | None, typer.Argument(help="Folder of versions. Default: AIGQ_THINK_DIR.")]
RootOption = Annotated[
    Path | None, typer.Option("--root", help="Folder of versions. Default: AIGQ_THINK_DIR.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
CURRENT = "current"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Example: aigq think build think/work --out think/versions --data data/complete-journey"
    )(build)
    app.command(epilog="Examples: aigq think lint think/versions · aigq think lint think/versions --all")(
        lint
    )
    app.command(epilog="Example: aigq think diff current 3f2a9c0d1b7e --root think/versions")(diff)
    app.command(epilog="Examples: aigq think show · aigq think show milk --user household-17")(show)
    think_serving_commands.register(app)


def build(
    work: Annotated[Path, typer.Argument(help="Folder with decisions.jsonl; see `aigq think review`.")],
    root: Annotated[Path, typer.Option("--out", help="Folder of versions; one is added.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Data set: popular list, and α by its validation span.")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Weight of relevance against business. Default: 0.5."),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, max=100, help="Queries per trigger at most.")] = 10,
    popular: Annotated[int, typer.Option(min=0, max=100, help="Length of the popular list.")] = 20,
    current: Annotated[
        bool, typer.Option("--current", help="Also name it in current.json: workers will serve it.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a version of what the review approved. It is not served before it is promoted.

    Queries are ranked in each trigger by α · S_rel + (1 − α) · S_eff. With --data and without --alpha, α is
    the greatest that meets as much of what is new to households as the best (within 0.001; validation span).
    """
    with extras("Building a version"):
        from training.think.versions.build_version import BuildSettings, build_version
    settings = BuildSettings(queries_max=queries, popular_max=popular)
    if alpha is not None:
        settings = replace(settings, alpha=alpha)
    shown: list[PopularQuery] | None = None
    metrics: dict[str, Any] = {}
    if data is not None:
        settings, shown, metrics = _measured(work, data, settings, choose=alpha is None)
    built = build_version(
        work,
        root,
        settings,
        created=datetime.now(UTC).date(),
        command=shlex.join(["aigq", *sys.argv[1:]]),
        popular=shown,
        metrics=metrics,
        current=current,
    )
    if json:
        print_json({"root": str(root), **asdict(built)})
        return
    place = escape(str(root))
    out.print(
        f"Version [bold]{built.version}[/bold] in {place}: {built.triggers:,} triggers, {built.entries:,} "
        f"entries, {built.queries:,} queries, {built.bytes / 1e6:.1f} MB, α {built.alpha}.\n"
        f"Now: aigq think lint {place} --version {built.version}\n"
        f"then: aigq think promote {built.version} --root {place}, or canary in place of promote"
    )


def _measured(
    work: Path, data: Path, settings: BuildSettings, *, choose: bool
) -> tuple[BuildSettings, list[PopularQuery], dict[str, Any]]:
    from training.datasets.dataset import load_dataset
    from training.think.versions.build_version import ALPHAS
    from training.think.versions.measure_version import measured

    with progress("build", len(ALPHAS)) as report:
        return measured(work, load_dataset(data), settings, choose=choose, report=report)


def lint(
    root: Root = None,
    versions: Annotated[
        list[str] | None, typer.Option("--version", help="Look at this one; more than once for more.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Look at all versions of the folder.")] = False,
    json: Json = False,
) -> None:
    """Look for everything that could be wrong in a version. Exit code 1 when something is.

    Default: the version that current.json names. Checks hashes and counts, each line, texts, order, scores,
    and that each served entry has its evidence, with numbers that fit together.
    """
    settings = load_settings(think_dir=root)
    folder = settings.think_dir
    asked = [path.parent.name for path in sorted(folder.glob("[!.]*/manifest.json"))] if every else versions
    findings = lint_folder(folder, asked or [], trusted_keys(settings))
    passed = not any(one.level == "problem" for one in findings)
    if json:
        print_json({"root": str(folder), "passed": passed, "findings": [asdict(one) for one in findings]})
    else:
        out.print(render_findings(findings, str(folder)))
    if not passed:
        raise typer.Exit(1)


def diff(
    before: Annotated[str, typer.Argument(help="A version, or `current`.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    root: RootOption = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of each kind are listed.")] = LIMIT,
    json: Json = False,
) -> None:
    """Say what serving AFTER in place of BEFORE would change: coverage, new, gone, changed most."""
    folder = load_settings(think_dir=root).think_dir
    names = [read_current(folder) if name == CURRENT else name for name in (before, after)]
    found = diff_versions(folder, names[0], names[1], limit)
    if json:
        print_json(asdict(found))
    else:
        out.print(render_diff(found))


def show(
    trigger: Annotated[
        str | None, typer.Argument(help="Text of a behaviour; none: what is served at all.")
    ] = None,
    user: Annotated[str, typer.Option(help="Show what this user sees, if there is a canary.")] = "",
    version: Annotated[
        str | None, typer.Option(help="A version of the folder instead; Redis is not asked.")
    ] = None,
    root: RootOption = None,
    json: Json = False,
) -> None:
    """Show what is served: the versions; or a trigger's queries, with their evidence and why."""
    settings = load_settings(think_dir=root)
    if trigger is None:
        state = served_state(settings)
        if json:
            print_json(asdict(state))
        else:
            out.print(render_pointer(state))
        return
    entry = served_entry(settings, trigger, user=user, version=version)
    if json:
        print_json(asdict(entry) | {"queries": [asdict(one) for one in entry.queries]})
    else:
        out.print(render_entry(entry))
    if not entry.queries:
        raise typer.Exit(1)
