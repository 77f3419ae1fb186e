"""A bundle's figures in its manifest: what it serves, and the simplest baselines beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agents.hints.bundle import load_manifest
from agents.hints.manifest import MANIFEST_NAME, Manifest
from streams.errors import TrainingError
from training.datasets.whole_files import replaced
from training.evaluation.served_arms import BUNDLE

BESIDE: Final = ("popular", "habit", "habit_item_knn")
FIGURES: Final = ("recall@10", "ndcg@10", "recall@3", "unique_categories", "filtered@10", "uctr@3")


def record(bundle: Path, results: Mapping[str, Any], details: Mapping[str, Any]) -> Manifest:
    """Write the figures into the manifest, in one step. Raises BundleError, or TrainingError when the
    results do not hold the bundle."""
    about = details["about"]
    metrics: dict[str, Any] = {"source": about["source"], "part": about["part"], "cases": about["cases"]}
    for task, arms in results.items():
        if BUNDLE not in arms:
            raise TrainingError(
                "The bundle was not judged, so nothing was recorded.",
                action="Name it with --bundle, and leave --arms out or name `bundle` there.",
            )
        chosen = [arm for arm in (BUNDLE, *BESIDE) if arm in arms]
        metrics[task] = {arm: {n: arms[arm][n] for n in FIGURES if n in arms[arm]} for arm in chosen}
    manifest = load_manifest(bundle).model_copy(update={"metrics": metrics})
    with replaced(bundle / MANIFEST_NAME) as unfinished:
        unfinished.write_text(manifest.to_json(), encoding="utf-8")
    return manifest
