"""Fuzz one target with atheris: ``python -m tests.fuzz.one_target NAME FOLDER COUNT SEED``.

The folder gets what was found (``crash-…``) and a corpus. libFuzzer's own arguments come from here alone.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from pathlib import Path

import atheris

OURS = ["streams", "agents.session", "agents.feedback", "agents.think", "agents.hints", "aigq"]
MEMORY_MB = 2048
SECONDS_EACH = 25


def main(name: str, folder: Path, count: int, seed: int) -> None:
    """Does not return: libFuzzer ends the process, with 0 if nothing was found."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with warnings.catch_warnings(), atheris.instrument_imports(include=OURS):
        warnings.simplefilter("ignore")
        from tests.fuzz.mutate import mutated
        from tests.fuzz.target import target

        chosen = target(name)
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(chosen.seeds):
        (corpus / f"seed-{number:03}").write_bytes(data)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        """Half of the changes are libFuzzer's, which knows what led to new code; half know JSON."""
        chance = random.Random(seed)
        changed = mutated(data, chance, chosen.seeds) if chance.random() < 0.5 else b""
        return changed[:max_size] if changed else atheris.Mutate(data, len(data) or 1)

    arguments = (
        *(f"-runs={count}", f"-seed={seed}", f"-max_len={chosen.max_bytes}", f"-artifact_prefix={folder}/"),
        *(f"-rss_limit_mb={MEMORY_MB}", f"-timeout={SECONDS_EACH}", "-print_final_stats=1", "-verbosity=0"),
    )
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], chosen.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
