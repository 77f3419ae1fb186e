"""``aigq export`` and ``aigq bundle verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from agents.hints.bundle import load_manifest, verify_bundle
from aigq.console import out, print_json
from aigq.extras import extras
from streams.errors import BundleError
from streams.settings import load_settings
from streams.signed_manifests import trusted_keys


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: aigq export runs/il_grpo --ranker runs/ranker --out exported_models/first")(
        export
    )
    bundle = typer.Typer(help="Bundles: what a worker generates with.", no_args_is_help=True)
    bundle.command(epilog="Example: aigq bundle verify exported_models/complete-journey")(verify)
    bundle.callback()(_bundle)
    app.add_typer(bundle, name="bundle")


def _bundle() -> None:
    """Bundles: what a worker generates with."""


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder, or a checkpoint.")],
    out_dir: Annotated[Path, typer.Option("--out", help="The bundle's folder; its name is the bundle's.")],
    ranker: Annotated[
        Path | None, typer.Option(help="The click ranker's run, to order lists with. Default: none.")
    ] = None,
    version: Annotated[str, typer.Option(help="The bundle's version; lists carry name and version.")] = "1",
) -> None:
    """Export a trained generator to an ONNX bundle. Needs the extras cpu and train."""
    with extras("Export"):
        from training.export import export_bundle
    made = export_bundle(run, out_dir, name=out_dir.name, version=version, ranker=ranker)
    out.print(f"Bundle: {escape(str(made))}")


def verify(
    folder: Annotated[Path | None, typer.Argument(help="Default: AIGQ_BUNDLE_DIR.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Check a bundle: signature, hashes, shapes, code version, that it writes a list. Exit code 3 if not."""
    settings = load_settings(bundle_dir=folder)
    findings = verify_bundle(settings.bundle_dir, trusted_keys(settings))
    if json:
        print_json({"bundle": str(settings.bundle_dir), "fits": not findings, "findings": findings})
    elif not findings:
        manifest = load_manifest(settings.bundle_dir)
        out.print(f"[bold green]{escape(manifest.full_name)} fits[/bold green]: {len(manifest.files)} files.")
        out.print_json(manifest.model_dump_json(include={"shapes", "metrics", "training"}))
    for finding in findings if not json else ():
        out.print(f"[red]{escape(str(settings.bundle_dir))}: {escape(finding)}[/red]")
    if findings:
        raise typer.Exit(BundleError.exit_code)
