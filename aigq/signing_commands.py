"""``aigq keys`` and ``aigq sign``: who made a bundle or a mapping version can be proved."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from aigq.console import out, print_json
from streams.errors import BundleError, SettingsError
from streams.settings import load_settings
from streams.signatures import SigningKey, create_signing_key, load_signing_key
from streams.signed_manifests import sign_manifest

MANIFEST = "manifest.json"
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
KeyOption = Annotated[Path | None, typer.Option("--key", help="Default: AIGQ_SIGNING_KEY_FILE.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(help="Keys that sign bundles, mappings and receipts.", no_args_is_help=True)
    keys.command(epilog="Example: aigq keys new secrets/signing.key")(new)
    keys.command(epilog="Example: aigq keys show secrets/signing.key >> trusted-keys")(show)
    keys.callback()(_keys)
    app.add_typer(keys, name="keys")
    app.command(epilog="Example: aigq sign exported_models/complete-journey --key secrets/signing.key")(sign)


def _keys() -> None:
    """Keys that sign bundles, mappings and receipts."""


def new(
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet.")], json: Json = False
) -> None:
    """Make an Ed25519 key that only its owner can read, and print its public half."""
    _tell(create_signing_key(file), file, json)


def show(
    file: Annotated[Path | None, typer.Argument(help="Default: AIGQ_SIGNING_KEY_FILE.")] = None,
    json: Json = False,
) -> None:
    """Print the public half of a key, as AIGQ_TRUSTED_KEYS_FILE wants it."""
    path = _named(file)
    _tell(load_signing_key(path), path, json)


def sign(
    folder: Annotated[Path, typer.Argument(help="A bundle, or one version of a mapping.")],
    key: KeyOption = None,
    json: Json = False,
) -> None:
    """Sign a bundle or a mapping version: its manifest, which has the hashes of its files.

    The files are compared with it first (exit code 3 if they differ). Writes manifest.json.sig beside it.
    """
    signing = load_signing_key(_named(key))
    _check_files(folder)
    made = sign_manifest(folder / MANIFEST, signing)
    if json:
        print_json({"folder": str(folder), "signature": str(made), "key_id": signing.key_id})
        return
    out.print(f"[bold green]Signed[/bold green] with {signing.key_id}: {escape(str(made))}")


def _tell(key: SigningKey, file: Path, json: bool) -> None:
    if json:
        print_json({"file": str(file), "key_id": key.key_id, "public_key": key.public_text})
        return
    out.print(f"{key.public_text} {key.key_id}", soft_wrap=True)


def _named(file: Path | None) -> Path:
    path = file or load_settings().signing_key_file
    if path is None:
        raise SettingsError("No key is named.", action="Name its file, or set AIGQ_SIGNING_KEY_FILE.")
    return path


def _check_files(folder: Path) -> None:
    wrong = []
    try:
        files: dict[str, dict[str, Any]] = orjson.loads((folder / MANIFEST).read_bytes())["files"]
        for name, facts in files.items():
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
                    wrong.append(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_signed(folder, f"{MANIFEST} or a file that it names cannot be read") from error
    if wrong:
        raise _not_signed(folder, f"{', '.join(wrong)} differ from {MANIFEST}")


def _not_signed(folder: Path, why: str) -> BundleError:
    return BundleError(
        f"{folder} was not signed: {why}.",
        action="Name the folder of a bundle or of one mapping version, as it was exported or built.",
    )
