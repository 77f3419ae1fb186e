"""Looks whether the bundle's folder holds another bundle, and swaps it in when all of it fits.

Whatever is wrong with it, the running bundle stays: corrupt, cut off, of another format, too large, or a
folder that is being copied. Each content is tried once, and only when it has stood still between two looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from agents.hints.bundle import Bundle, load_encoder
from agents.hints.compose import compose
from agents.hints.encoder import SubwordEncoder
from agents.hints.graph_session import warmed_up
from agents.hints.manifest import KNOWN_FILES, MANIFEST_NAME
from agents.serving import open_bundle
from streams.errors import BundleError
from streams.hint_request import HintRequest
from streams.metrics import Metrics
from streams.settings import Settings
from streams.signed_manifests import SIGNATURE_SUFFIX, trusted_keys

log = structlog.get_logger("bundle")
STANDS_STILL_S: Final = 1.0
PROOF_WITHIN_S: Final = 60.0
Fingerprint = tuple[tuple[str, int, int, int], ...]  # name, bytes, changed at, file number


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker takes from a bundle. whole: None in one that only keeps sessions."""

    name: str
    encoder: SubwordEncoder
    whole: Bundle | None = None


def open_served(settings: Settings, *, generates: bool) -> Served:
    """The bundle as far as the roles need it. Raises BundleError."""
    if not generates:
        encoder, name = load_encoder(settings.bundle_dir, trusted_keys(settings))
        return Served(name, encoder)
    bundle = open_bundle(settings)
    return Served(bundle.name, bundle.encoder, bundle)


def fingerprint(folder: Path) -> Fingerprint:
    """Changes whenever a file of the bundle may have: cheap, for a look every few seconds."""
    found = []
    for name in sorted(KNOWN_FILES | {MANIFEST_NAME, MANIFEST_NAME + SIGNATURE_SUFFIX}):
        try:
            seen = (folder / name).stat()
        except OSError:
            continue
        found.append((name, seen.st_size, seen.st_mtime_ns, seen.st_ino))
    return tuple(found)


def prove(bundle: Bundle, request: HintRequest | None) -> None:
    """A request that went well with the running bundle goes well with this one. Raises BundleError."""
    if request is None:
        return
    try:
        with ExitStack() as stack:
            for session in bundle.sessions:
                stack.enter_context(warmed_up(session, PROOF_WITHIN_S))
            compose([request], bundle, generated_at_ms=0)
    except Exception as error:  # whatever a wrong graph may raise
        raise BundleError(
            f"The bundle fails on a request that the running one answers: {error}.",
            action="Export it anew.",
        ) from error


@dataclass(slots=True)
class BundleWatch:
    """swap: takes the new bundle over, between two batches. proof: a request that went well lately, or None.

    running: name of the running bundle. refused: why the one in the folder is not it; empty: it is.
    """

    settings: Settings
    metrics: Metrics
    generates: bool
    swap: Callable[[Served], None]
    proof: Callable[[], HintRequest | None]
    running: str
    settled: Fingerprint
    refused: str = ""
    _last: Fingerprint = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.settled

    async def run(self) -> None:
        """Look every `bundle_every_s`, until cancelled."""
        while True:
            await asyncio.sleep(self._wait_s())
            await self.look()

    async def look(self) -> None:
        """One look: nothing when all is as it was, or still changes."""
        found = await asyncio.to_thread(fingerprint, self.settings.bundle_dir)
        stands_still, self._last = found == self._last, found
        if stands_still and found != self.settled:
            self.settled = found
            await self._take_over()

    def facts(self) -> dict[str, Any]:
        """What `/ready` says of it."""
        return {"name": self.running, "refused": self.refused}

    def _wait_s(self) -> float:
        every_s = self.settings.bundle_every_s
        return min(STANDS_STILL_S, every_s) if self._last != self.settled else every_s

    async def _take_over(self) -> None:
        try:
            served = await asyncio.to_thread(self._open)
        except Exception as error:  # a folder can be wrong in ways that nobody thought of
            self.refused = str(error)
            self.metrics.bundle_loads.labels("refused").inc()
            log.warning("bundle_refused", running=self.running, error=self.refused)
            return
        self.swap(served)
        self.running, self.refused = served.name, ""
        self.metrics.bundle_loads.labels("loaded").inc()
        log.info("bundle_swapped", bundle=served.name)

    def _open(self) -> Served:
        served = open_served(self.settings, generates=self.generates)
        if served.whole is not None:
            prove(served.whole, self.proof())
        return served
