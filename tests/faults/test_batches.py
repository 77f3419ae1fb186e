"""Real graphs that raise or do not end: one request is set aside, a broken model sets nothing aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.hints.batches import DIFFERENT_REQUESTS, Batches, Worked
from agents.hints.bundle import load_bundle
from agents.hints.generation import MOST_LEFT_BEHIND, Generation
from agents.hints.queue import Job
from agents.session.interest import ACTION_CODES
from streams.acks import Ticket
from streams.backoff import Circuit
from streams.dead_letters import reason_of
from streams.errors import BundleError
from streams.hint_request import Behaviour, HintRequest, Version
from streams.metrics import Metrics
from streams.records import Action
from tests.faulty_bundles import NO_ACTION_TOO, faulty, loops_forever, one_long_node, raises, repaired
from tests.support import NOON_MS

GOOD, POISON = ACTION_CODES[Action.PURCHASE], ACTION_CODES[Action.SEARCH]
WITHIN_S = 0.5


def job(number: int, action: int = GOOD) -> Job:
    """A request after one behaviour, of another text encoder: embedded anew by the bundle."""
    zeros = np.zeros((0, 4), np.int8)
    behaviours = (Behaviour(action, NOON_MS, "milk"),)
    request = HintRequest(
        f"u{number}", Version(NOON_MS, number), "first", 1.0, "another", behaviours, zeros, zeros
    )
    return Job(request, Ticket(("requests", 0), number, lambda: None), None)


def batches_of(folder: Path) -> Batches:
    load = partial(load_bundle, folder)
    return Batches(Generation(load(), Metrics(), open_again=load, within_s=WITHIN_S))


def users(worked: list[Any]) -> list[str]:
    return [entry[0].request.user for entry in worked]


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


FAULTS = {"raises": raises, "loops_forever": loops_forever}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_request_that_fails_is_set_aside_alone(tmp_path: Path, fault: str) -> None:
    batches = batches_of(faulty(tmp_path / "b", FAULTS[fault], POISON))

    async def test() -> None:
        worked = await batches.work([job(0), job(1, POISON), job(2)], 0.0)
        assert users(worked.done) == ["u0", "u2"]
        [(bad, error)] = worked.bad
        assert bad.request.user == "u1"
        assert reason_of(error) == ("generation_timeout" if fault == "loops_forever" else "internal_error")
        assert (worked.back, batches.problem, batches.held) == ([], "", [])

    in_loop(test)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_request_that_comes_alone_is_judged_by_one_that_went_well(tmp_path: Path, fault: str) -> None:
    batches = batches_of(faulty(tmp_path / "b", FAULTS[fault], POISON))

    async def test() -> None:
        await batches.work([job(0)], 0.0)
        assert users((await batches.work([job(1, POISON)], 1.0)).bad) == ["u1"]
        assert batches.breaker.circuit is Circuit.CLOSED

    in_loop(test)


def test_a_bad_request_before_any_good_one_waits_for_it(tmp_path: Path) -> None:
    batches = batches_of(faulty(tmp_path / "b", raises, POISON))

    async def test() -> None:
        worked = await batches.work([job(1, POISON)], 0.0)
        assert (worked.done, worked.bad) == ([], [])
        assert batches.problem == "1 requests failed, and none went well yet"
        worked = await batches.work([job(2)], 1.0)
        assert (users(worked.done), users(worked.bad), batches.problem) == (["u2"], ["u1"], "")

    in_loop(test)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_fails_for_all_sets_nothing_aside(tmp_path: Path, fault: str) -> None:
    batches = batches_of(faulty(tmp_path / "b", FAULTS[fault]))

    async def test() -> None:
        jobs = [job(number) for number in range(20)]
        worked = await batches.work(jobs, 0.0)
        assert (worked.done, worked.bad) == ([], [])
        assert len(batches.held) == DIFFERENT_REQUESTS
        assert users([(one, None) for one in worked.back]) == [f"u{number}" for number in range(5, 20)]
        assert batches.breaker.circuit is Circuit.OPEN
        assert batches.problem.startswith("the model fails: ")
        assert not batches.breaker.allows(0.1)

    in_loop(test)


def test_trials_go_on_until_the_bundle_on_disk_works_and_then_every_request_gets_its_list(
    tmp_path: Path,
) -> None:
    folder = faulty(tmp_path / "b", raises)
    batches = batches_of(folder)

    async def test() -> None:
        first = await batches.work([job(number) for number in range(8)], 0.0)
        assert batches.breaker.allows(100.0)
        assert await batches.trial(100.0) == Worked()
        assert batches.breaker.circuit is Circuit.OPEN
        repaired(folder)
        assert batches.breaker.allows(200.0)
        trial = await batches.trial(200.0)
        rest = await batches.work(first.back, 201.0)
        assert sorted(users(trial.done) + users(rest.done)) == [f"u{number}" for number in range(8)]
        assert (trial.bad, rest.bad, batches.problem) == ([], [], "")

    in_loop(test)


def test_a_model_that_breaks_in_the_middle_is_known_by_a_request_that_went_well(tmp_path: Path) -> None:
    folder = faulty(tmp_path / "b", raises, POISON)
    batches = batches_of(folder)

    async def test() -> None:
        assert users((await batches.work([job(0)], 0.0)).done) == ["u0"]
        faulty(folder, raises)
        await batches.generation.reopen()
        worked = await batches.work([job(1), job(2)], 1.0)
        assert (worked.done, worked.bad) == ([], [])
        assert batches.breaker.circuit is Circuit.OPEN
        repaired(folder)
        trial = await batches.trial(50.0)
        assert (users(trial.done), trial.bad, batches.problem) == (["u1", "u2"], [], "")

    in_loop(test)


def test_a_bundle_that_cannot_be_opened_keeps_the_circuit_open(tmp_path: Path) -> None:
    folder = faulty(tmp_path / "b", raises)
    batches = batches_of(folder)

    async def test() -> None:
        await batches.work([job(number) for number in range(8)], 0.0)
        (folder / "lexicon.tsv").write_bytes(b"torn")
        assert await batches.trial(100.0) == Worked()
        assert "lexicon.tsv" in batches.problem
        assert len(batches.held) == DIFFERENT_REQUESTS

    in_loop(test)


def test_a_run_that_cannot_be_stopped_is_left_behind_and_the_next_lists_come(tmp_path: Path) -> None:
    batches = batches_of(faulty(tmp_path / "b", one_long_node(3000), POISON))

    async def test() -> None:
        await batches.work([job(0)], 0.0)
        worked = await batches.work([job(1, POISON)], 1.0)
        assert users(worked.bad) == ["u1"]
        assert batches.generation.left_behind == 1
        assert users((await batches.work([job(2)], 2.0)).done) == ["u2"]

    in_loop(test)


def test_after_a_few_of_those_the_worker_is_to_be_started_anew(tmp_path: Path) -> None:
    batches = batches_of(faulty(tmp_path / "b", one_long_node(3000), POISON))
    batches.generation.left_behind = MOST_LEFT_BEHIND - 1

    async def test() -> None:
        with pytest.raises(BundleError, match=r"did not end.*Restart the worker"):
            await batches.work([job(1, POISON)], 0.0)

    in_loop(test)


def test_revoked_partitions_take_their_requests_with_them(tmp_path: Path) -> None:
    batches = batches_of(faulty(tmp_path / "b", raises))

    async def test() -> None:
        await batches.work([job(number) for number in range(8)], 0.0)
        batches.drop({("requests", 0)})
        assert batches.held == []
        assert await batches.trial(100.0) == Worked()
        assert batches.breaker.circuit is Circuit.CLOSED  # the next batch is the trial

    in_loop(test)


def test_a_bundle_whose_warm_up_raises_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"generator\.onnx does not run"):
        load_bundle(faulty(tmp_path / "b", raises, NO_ACTION_TOO))
