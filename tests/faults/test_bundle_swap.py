"""Another bundle while the worker runs: one that fits is swapped in, any other is refused and says why."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from agents.bundle_watch import BundleWatch, fingerprint, open_served
from agents.hints.manifest import FILE_LIMIT_BYTES, GRAPH, LEXICON, MANIFEST_NAME, TOKENIZER
from streams.hint_request import Behaviour, HintRequest, Version
from streams.metrics import Metrics
from streams.settings import load_settings
from tests.faults.case import Case
from tests.faulty_bundles import (
    ANY_ACTION,
    COMMITTED,
    change_manifest,
    faulty,
    loops_forever,
    raises,
    repaired,
    replace_graph,
)
from tests.shop import get, wait_until
from tests.support import NOON_MS, event_json


class Rig:
    """A watch on a folder, and what it swapped in."""

    def __init__(self, folder: Path, *, generates: bool = True) -> None:
        self.folder = Path(shutil.copytree(COMMITTED, folder))
        settings = load_settings({"AIGQ_BUNDLE_DIR": str(folder)})
        self.served = [open_served(settings, generates=generates)]
        self.metrics = Metrics()
        self.watch = BundleWatch(
            settings,
            self.metrics,
            generates,
            swap=self.served.append,
            proof=request,
            running=self.served[0].name,
            settled=fingerprint(folder),
        )

    def look(self, times: int = 3) -> None:
        """So often that what has changed has stood still."""

        async def look() -> None:
            for _ in range(times):
                await self.watch.look()

        asyncio.run(look())

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("aigq_bundle_loads_total", {"outcome": outcome}) or 0


def request() -> HintRequest:
    zeros = np.zeros((0, 4), np.int8)
    return HintRequest(
        "u", Version(NOON_MS, 0), "first", 1.0, "-", (Behaviour(5, NOON_MS, "milk"),), zeros, zeros
    )


def cut_off(folder: Path) -> None:
    (folder / GRAPH).write_bytes((folder / GRAPH).read_bytes()[:-100])


def flip(folder: Path) -> None:
    data = bytearray((folder / TOKENIZER).read_bytes())
    data[1000] ^= 1
    (folder / TOKENIZER).write_bytes(bytes(data))


def mismatch(folder: Path) -> None:
    replace_graph(folder, (COMMITTED / "ranker.onnx").read_bytes())


def oversize(folder: Path) -> None:
    with (folder / LEXICON).open("ab") as file:
        file.truncate(FILE_LIMIT_BYTES + 1)  # a hole: it takes no room on the disk


def oversize_as_declared(folder: Path) -> None:
    oversize(folder)
    change_manifest(folder, lambda found: found["files"][LEXICON].update(bytes=FILE_LIMIT_BYTES + 1))


def from_the_future(folder: Path) -> None:
    change_manifest(folder, lambda found: found.update(min_code_version="99.0.0"))


def of_another_format(folder: Path) -> None:
    change_manifest(folder, lambda found: found.update(format=99))


def in_the_middle_of_a_copy(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(COMMITTED / MANIFEST_NAME, folder)
    shutil.copy(COMMITTED / LEXICON, folder)


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (cut_off, "generator.onnx has"),
    "corrupt": (flip, "tokenizer.json is not the file"),
    "mismatched": (mismatch, "generator.onnx has"),
    "oversized": (oversize, "lexicon.tsv is larger than"),
    "oversized as declared": (oversize_as_declared, "less than or equal to"),
    "of a newer version": (from_the_future, "needs AIGQ 99.0.0"),
    "of another format": (of_another_format, "format"),
    "half copied": (in_the_middle_of_a_copy, "cannot be read"),
    "gone": (gone, "manifest.json cannot be read"),
    "failing on real requests": (
        lambda folder: faulty(folder, raises),
        "fails on a request that the running one",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bundle_that_does_not_fit_is_refused_once_and_the_running_one_stays(
    tmp_path: Path, wrong: str
) -> None:
    rig = Rig(tmp_path / "bundle")
    spoil, why = WRONG[wrong]
    spoil(rig.folder)
    rig.look(5)
    assert why in rig.watch.facts()["refused"]
    assert (rig.count("refused"), rig.count("loaded"), len(rig.served)) == (1, 0, 1)
    shutil.rmtree(rig.folder, ignore_errors=True)
    repaired(rig.folder)
    change_manifest(rig.folder, lambda found: found.update(version="2"))
    rig.look(5)
    assert rig.watch.facts() == {"name": "complete-journey-2", "refused": ""}
    assert (rig.count("loaded"), len(rig.served)) == (1, 2)


def test_a_folder_that_still_changes_is_left_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "bundle")
    for version in ("2", "3", "4"):
        change_manifest(rig.folder, lambda found, version=version: found.update(version=version))
        rig.look(1)
    assert (len(rig.served), rig.watch.refused) == (1, "")
    rig.look(1)
    assert [one.name for one in rig.served] == ["complete-journey-1", "complete-journey-4"]


def test_nothing_is_loaded_while_nothing_changes(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "bundle")
    rig.look(5)
    assert (len(rig.served), rig.count("loaded"), rig.count("refused")) == (1, 0, 0)


def test_a_session_worker_takes_the_encoder_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "bundle", generates=False)
    change_manifest(rig.folder, lambda found: found.update(version="2"))
    rig.look()
    assert (rig.served[-1].name, rig.served[-1].whole) == ("complete-journey-2", None)


def test_the_old_bundle_leaves_the_memory(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "bundle")
    assert rig.served[0].whole is not None
    old = weakref.ref(rig.served[0].whole.generator)
    change_manifest(rig.folder, lambda found: found.update(version="2"))
    rig.look()
    del rig.served[0]
    gc.collect()
    assert old() is None


@pytest.mark.parametrize("first", ["session", "hints"])
def test_workers_swap_in_any_order_and_every_event_gets_its_list(case: Case, first: str) -> None:
    folders = {role: Path(shutil.copytree(COMMITTED, case.folder / role)) for role in ("session", "hints")}
    for role, folder in folders.items():
        case.shop.worker(role, AIGQ_BUNDLE_DIR=str(folder), AIGQ_BUNDLE_EVERY_S="0.3")

    def bundle_of(place: int) -> Any:
        return orjson.loads(get(f"{case.shop.workers[place].health_url}/ready")[1])["bundle"]

    def buy(text: str, minute: int) -> None:
        at_ms = NOON_MS + minute * 60_000
        case.shop.produce(event_json(text=text, user=case.shop.user(n), at_ms=at_ms) for n in range(10))
        wait_until(
            lambda: all((one := newest(n)) and one.trigger == text for n in range(10)), f"lists of {text}"
        )

    def newest(number: int) -> Any:
        return case.shop.newest(case.shop.user(number))

    buy("milk", 0)
    order = ["session", "hints"] if first == "session" else ["hints", "session"]
    for minute, role in enumerate(order, 1):
        change_manifest(folders[role], lambda found: found.update(version="2"))
        place = list(folders).index(role)
        wait_until(lambda place=place: bundle_of(place)["name"] == "complete-journey-2", f"{role} to swap")
        buy(f"cheese {role}", minute)
    assert {newest(number).bundle for number in range(10)} == {"complete-journey-2"}
    assert case.shop.count("aigq_dead_letters_total") == 0
    assert case.shop.count("aigq_bundle_loads_total", outcome="loaded") == 2


def test_a_running_worker_says_which_bundle_it_refused_and_goes_on(case: Case) -> None:
    folder = Path(shutil.copytree(COMMITTED, case.folder / "bundle"))
    worker = case.shop.worker("session", "hints", AIGQ_BUNDLE_DIR=str(folder), AIGQ_BUNDLE_EVERY_S="0.3")
    case.shop.produce([event_json(text="milk", user=case.shop.user(0))])
    wait_until(lambda: case.shop.newest(case.shop.user(0)), "the first list")
    faulty(folder, loops_forever, ANY_ACTION)
    cut_off(folder)
    wait_until(lambda: case.shop.count("aigq_bundle_loads_total", outcome="refused") == 1, "the refusal")
    status, body = get(f"{worker.health_url}/ready")
    assert status == 200
    assert "generator.onnx has" in orjson.loads(body)["bundle"]["refused"]
    case.shop.produce([event_json(text="wine", user=case.shop.user(1))])
    wait_until(lambda: case.shop.newest(case.shop.user(1)), "a list of the running bundle")
    assert worker.log_path.read_text().count("bundle_refused") == 1
