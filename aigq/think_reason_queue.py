"""The ways of ``aigq think reason`` over many workers: onto a topic, off it, and the answers back."""

from __future__ import annotations

import logging
import signal
from itertools import chain
from threading import Event
from types import FrameType

from aigq.console import err
from aigq.think_reason_runs import Asking, Reasoning, counts_of, open_reasoner, proposed, summary, tell
from streams.errors import TrainingError
from streams.settings import load_settings


def enqueue_histories(plan: Reasoning, maker: str) -> None:
    """Put what the maker has not answered on the topic."""
    from training.think.language_model.work_topics import enqueue
    from training.think.reasoned_files import read_histories, read_reasoned

    _quiet()
    answered = {one.history for one in read_reasoned(plan.work, maker)}
    histories = read_histories(plan.work, plan.limit)
    count = enqueue((one for one in histories if one.name not in answered), load_settings())
    tell(plan, {"maker": maker, "histories": len(histories), "enqueued": count})


def work_off(plan: Reasoning, asking: Asking, idle_s: float | None) -> None:
    """Answer what is on the topic, until it is stopped (Ctrl-C, SIGTERM), idle, or at a limit."""
    from training.think.language_model.worker import Worker

    _quiet()
    plan.work.mkdir(parents=True, exist_ok=True)
    reasoner = open_reasoner(plan, asking)
    worker = Worker(reasoner, load_settings(), _stopped_by_signals(), _told)
    try:
        worker.run(idle_s)
    finally:
        reasoner.close()
    found = summary(reasoner, [])
    tell(plan, {"maker": reasoner.name, "done": worker.done, "unreadable": worker.unreadable, **found})
    if reasoner.tally.gave_up:
        raise TrainingError(
            f"The endpoint seems to be away: {reasoner.tally.stopped}.",
            action="See to it, then start the worker again; what it did not answer is still on the topic.",
        )


def collect_answers(plan: Reasoning, maker: str) -> None:
    """Write all answers of the workers so far, beside those the folder has."""
    from training.think.language_model.work_topics import collect
    from training.think.reasoned_files import read_histories, read_reasoned, write_reasoned

    _quiet()
    histories = read_histories(plan.work, plan.limit)
    found = collect(histories, maker, load_settings())
    answers = chain(read_reasoned(plan.work, maker), found.answers)
    reasoned = write_reasoned(plan.work, maker, histories, answers)
    told = {"maker": maker, "histories": len(histories), **counts_of(reasoned)}
    missing = len(histories) - len(reasoned)
    told |= {"left": missing - found.failed, "failed": found.failed, "unreadable": found.unreadable}
    tell(plan, {**told, **proposed(plan, maker, histories, reasoned)})


def _quiet() -> None:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it floods while the broker is away; we tell


def _told(done: int) -> None:
    err.print(f"{done:,} answered", highlight=False)


def _stopped_by_signals() -> Event:
    """Set by Ctrl-C or SIGTERM: the worker ends after its batch."""
    stopped = Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return stopped
