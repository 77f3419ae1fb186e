"""Whether a mapping version is signed by somebody who is trusted here."""

from __future__ import annotations

from pathlib import Path

from agents.think.version_folder import MANIFEST_FILE, Manifest, fault, read_whole
from streams.signed_manifests import Trusted, why_not_trusted


def check_trusted(root: Path, manifest: Manifest, trusted: Trusted) -> None:
    """Raises MappingError: the version is not trusted, or its manifest is not the one that was read."""
    if trusted is None:
        return
    path = root / manifest.version / MANIFEST_FILE
    raw = read_whole(path)
    wrong = why_not_trusted(raw, path, trusted)
    if wrong:
        raise fault(
            f"version {manifest.version} is refused: {wrong}; what is served stays",
            "Sign it with `aigq sign`, or add its key to AIGQ_TRUSTED_KEYS_FILE.",
        )
    if Manifest.model_validate_json(raw) != manifest:
        raise fault(f"the manifest of {manifest.version} changed while it was read", "Try again.")
