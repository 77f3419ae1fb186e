"""``aigq think load|canary|promote|rollback|gc``: which mapping version Redis holds and users see."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import redis.asyncio
import typer
from rich.markup import escape

from agents.think.entries import Report
from agents.think.lifecycle import Change, promote_version, roll_back_version, start_canary, stop_canary
from agents.think.mapping import LoadOptions, LoadReport, load_mapping, stage_mapping
from agents.think.old_versions import find_leftovers, remove_leftovers
from agents.think.version_folder import has_version, read_manifest
from aigq.console import out, print_json
from aigq.think_reports import render_leftovers, render_load
from streams.errors import SettingsError
from streams.redis_client import connect_redis
from streams.settings import Settings, load_settings
from streams.signed_manifests import trusted_keys
from training.progress import progress

T = TypeVar("T")
Folder = Annotated[Path | None, typer.Argument(help="Folder of versions. Default: AIGQ_THINK_DIR.")]
FolderOption = Annotated[
    Path | None, typer.Option("--root", help="Folder of versions. Default: AIGQ_THINK_DIR.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: aigq think load exported_models/think-complete-journey")(load)
    app.command(epilog="Examples: aigq think canary 3f2a9c0d1b7e --share 0.1 · aigq think canary --stop")(
        canary
    )
    app.command(epilog="Examples: aigq think promote 3f2a9c0d1b7e · aigq think promote (the canary)")(promote)
    app.command(epilog="Example: aigq think rollback")(rollback)
    app.command(epilog="Examples: aigq think gc · aigq think gc --keep 3 --yes")(gc)


def load(
    folder: Folder = None,
    version: Annotated[
        str | None, typer.Option(help="Bring this one to Redis, but do not serve it: for canary and promote.")
    ] = None,
    json: Json = False,
) -> None:
    """Load the mapping version that FOLDER/current.json names into Redis, and serve it.

    Readers see the old version or the new one, whole. A faulty folder changes nothing. What was decided by
    canary, promote and rollback stands (outcome held). A running worker with the think role does the same
    by itself, every AIGQ_THINK_EVERY_S seconds.
    """
    settings = load_settings(think_dir=folder)
    root = settings.think_dir
    with _progress(root, read_manifest(root, version).version) as report:
        options = LoadOptions(report=report, trusted=trusted_keys(settings))
        if version is None:
            done: LoadReport = _with_redis(settings, lambda client: load_mapping(client, root, options))
        else:
            done = _with_redis(settings, lambda client: stage_mapping(client, root, version, options))
    if json:
        print_json(asdict(done))
        return
    out.print(render_load(done))


def canary(
    version: Annotated[str | None, typer.Argument(help="The version on trial.")] = None,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the users who see it.")] = 0.1,
    stop: Annotated[bool, typer.Option("--stop", help="End the trial: all see the version in use.")] = False,
    folder: FolderOption = None,
    json: Json = False,
) -> None:
    """Show a version to a stable share of the users; the others see the one in use.

    A user belongs to the share by a hash of version and user id: the same users on every machine, and more
    of them with a larger share. The version is brought to Redis first if it is not there.
    """
    settings = load_settings(think_dir=folder)
    if stop == (version is not None):
        raise SettingsError("A canary needs a version, or --stop, not both.", action="See --help.")
    if version is None:
        _tell(_with_redis(settings, stop_canary), settings.think_dir, json)
        return
    root = settings.think_dir
    with _progress(root, version) as report:
        options = LoadOptions(report=report, trusted=trusted_keys(settings))
        change = _with_redis(settings, lambda client: start_canary(client, root, version, share, options))
    _tell(change, root, json)


def promote(
    version: Annotated[str | None, typer.Argument(help="Default: the canary.")] = None,
    folder: FolderOption = None,
    json: Json = False,
) -> None:
    """Serve a version to everybody: one swap of the pointer, after it is in Redis as a whole.

    The version before is kept for a rollback, and no loader goes back to it by itself. The folder's
    current.json names the new one then.
    """
    settings = load_settings(think_dir=folder)
    root = settings.think_dir
    with _progress(root, version) as report:
        options = LoadOptions(report=report, trusted=trusted_keys(settings))
        change = _with_redis(settings, lambda client: promote_version(client, root, version, options))
    _tell(change, root, json)


def rollback(folder: FolderOption = None, json: Json = False) -> None:
    """Serve the version before again: one swap of the pointer, at once, also while a load is going on.

    Ends a canary. Loaders leave the version that was rolled back until it is promoted; a newer one that
    current.json names later is served as ever.
    """
    settings = load_settings(think_dir=folder)
    root = settings.think_dir
    _tell(_with_redis(settings, lambda client: roll_back_version(client, root)), root, json)


def gc(
    folder: Folder = None,
    keep: Annotated[int, typer.Option(min=0, help="The newest so many folders stay in any case.")] = 3,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it they are only listed.")] = False,
    json: Json = False,
) -> None:
    """List versions that nobody needs, in Redis and in the folder; with --yes delete them.

    Never the version in use, the canary, the one before, or what current.json names.
    """
    settings = load_settings(think_dir=folder)
    root = settings.think_dir
    found = _with_redis(settings, lambda client: find_leftovers(client, root, keep))
    if yes:
        found = _with_redis(settings, lambda client: remove_leftovers(client, root, found))
    if json:
        print_json({"deleted": yes, **asdict(found)})
        return
    out.print(render_leftovers(found, str(root), deleted=yes))


def _tell(change: Change, root: Path, json: bool) -> None:
    if json:
        print_json(asdict(change))
        return
    was = "as before" if change.version == change.before else f"until now: {change.before or 'none'}"
    out.print(
        f"Mapping [bold]{change.version}[/bold] is served ({was}); "
        f"a rollback finds {change.previous or 'nothing'}."
    )
    if change.canary:
        out.print(
            f"{change.share:.1%} of the users see [bold]{change.canary}[/bold].\n"
            "Now: aigq think show TRIGGER --user USER; in the end aigq think promote, or canary --stop"
        )
    if change.version != change.before and not change.named:
        out.print(
            f"[yellow]{escape(str(root))}/current.json could not be set to {change.version}: a Redis that "
            "loses everything would come back with what it names.[/yellow]"
        )


def _progress(root: Path, version: str | None) -> AbstractContextManager[Report]:
    """Progress of bringing a version to Redis; silent when the folder does not say how long it is."""
    if version is None or not has_version(root, version):
        return nullcontext(lambda _done, _note: None)
    return progress(f"load {version}", read_manifest(root, version).triggers)


def _with_redis(settings: Settings, act: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        client = connect_redis(settings)
        try:
            return await act(client)
        finally:
            await client.aclose()

    return asyncio.run(run())
