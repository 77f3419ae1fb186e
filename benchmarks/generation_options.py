"""What onnxruntime's session options, threads and processes do to the shipped bundle's lists per second.

    python -m benchmarks.generation_options [--cores] [--quick] [--json] [--save]

Options are one thread's: CPU time, in turns in one process, each as a ratio to how workers open a session
(agents.hints.generator.open_session). --cores: wall time of both cores instead, each way in processes of its
own, one way after the other: one process with one or two threads, spinning or not; two processes; one session
shared by two threads of one process.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from agents.hints.bundle import Bundle
from agents.hints.context import Contexts
from agents.hints.manifest import GRAPH
from agents.serving import open_bundle
from benchmarks.harness import Figure, alternated, paired, per_second
from benchmarks.hint_requests import QUICK_PURCHASES, newest_requests
from benchmarks.report import Report, command_line, finish, rounds_of
from streams.hint_request import HintRequest, decode_request
from streams.settings import load_settings

BATCHES: Final = (1, 8, 32)
ROUND_LISTS: Final = 256
CORES_S: Final = 0.4  # of each way and batch size, when both cores are busy
OPENED_WITHIN_S: Final = 8.0
MOST_ROUNDS: Final = 3
ByBatch = Mapping[int, Sequence[Contexts]]
OURS: Final = "as shipped"
OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    OURS: {},
    "without arena": {"enable_cpu_mem_arena": False},
    "without memory pattern": {"enable_mem_pattern": False},
    "without prepacking": {"session.disable_prepacking": "1"},
    "denormals as zero": {"session.set_denormal_as_zero": "1"},
    "basic optimisation": {"graph_optimization_level": 1},
    "no optimisation": {"graph_optimization_level": 0},
}
# Processes, sessions in each, threads of a session, callers at once, spinning.
WAYS: Final = {
    "1 process × 1 thread": (1, 1, 1, False),
    "1 process × 2 threads": (1, 2, 1, False),
    "1 process × 2 threads, spinning": (1, 2, 1, True),
    "2 processes × 1 thread": (2, 1, 1, False),
    "1 session shared by 2 callers": (1, 1, 2, False),
}


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--cores", action="store_true", help="threads and processes, on both cores")
    given = parser.parse_args()
    settings = load_settings()
    bundle = open_bundle(settings)
    requests = [decode_request(one) for one in newest_requests(bundle, settings, QUICK_PURCHASES)]
    chosen = [requests[place % len(requests)] for place in range(ROUND_LISTS)]
    contexts = {size: _batches(bundle, chosen, size) for size in BATCHES}
    graph = (settings.bundle_dir / GRAPH).read_bytes()
    found = (
        _ways(graph, contexts, rounds_of(given))
        if given.cores
        else _options(graph, contexts, rounds_of(given))
    )
    ratios = [paired(f"{one.name} to {rates[0].name}", one, rates[0]) for rates in found for one in rates[1:]]
    name = "generation_cores" if given.cores else "generation_options"
    finish(Report(name, __doc__ or "", [one for rates in found for one in rates], ratios), given)


def _batches(bundle: Bundle, requests: Sequence[HintRequest], size: int) -> list[Contexts]:
    parts = [requests[start : start + size] for start in range(0, len(requests), size)]
    return [bundle.generator.contexts(part) for part in parts]


def _options(graph: bytes, contexts: ByBatch, rounds: int) -> list[list[Figure]]:
    """Of each batch size, ours first."""
    sessions = {name: _session(graph, options) for name, options in OPTIONS.items()}
    figures = []
    for size, batches in contexts.items():
        works = {
            name: partial(per_second, ROUND_LISTS, _all(session, batches), time.process_time)
            for name, session in sessions.items()
        }
        found = alternated(works, rounds)
        figures.append(
            [Figure.of(f"{name}, batch {size}", "lists/s", values) for name, values in found.items()]
        )
    return figures


def _ways(graph: bytes, contexts: ByBatch, rounds: int) -> list[list[Figure]]:
    """Of each batch size, one process with one thread first."""
    found: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    names = list(WAYS)
    for turn in range(min(MOST_ROUNDS, rounds)):
        for name in names[turn:] + names[:turn]:
            found[name].append(_way(graph, contexts, *WAYS[name]))
    return [
        [
            Figure.of(f"{name}, batch {size}", "lists/s", [rates[place] for rates in runs])
            for name, runs in found.items()
        ]
        for place, size in enumerate(contexts)
    ]


def _way(
    graph: bytes, contexts: ByBatch, processes: int, threads: int, callers: int, spin: bool
) -> list[float]:
    """Lists per second of wall time by batch size, all processes together."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        begin_s = time.time() + OPENED_WITHIN_S
        arguments = (graph, contexts, threads, callers, spin, begin_s)
        asked = [pool.submit(_worker, *arguments) for _ in range(processes)]
        done = [one.result() for one in asked]
    return [
        size * sum(counts) / CORES_S for size, counts in zip(contexts, zip(*done, strict=True), strict=True)
    ]


def _worker(
    graph: bytes, contexts: ByBatch, threads: int, callers: int, spin: bool, begin_s: float
) -> list[int]:
    """Batches done by size, between moments that all processes share."""
    changes = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": str(int(spin))}
    session, counts = _session(graph, changes), []
    with ThreadPoolExecutor(callers) as pool:
        for place, batches in enumerate(contexts.values()):
            _all(session, batches[:4])()
            start_s = begin_s + place * 2 * CORES_S
            if time.time() > start_s:
                raise RuntimeError("the machine is too busy: a process was not ready in time")
            time.sleep(start_s - time.time())
            asked = [pool.submit(_until, session, batches, start_s + CORES_S) for _ in range(callers)]
            counts.append(sum(one.result() for one in asked))
    return counts


def _until(session: Any, contexts: Sequence[Contexts], end_s: float) -> int:
    done = 0
    while time.time() < end_s:
        session.run(["queries"], contexts[done % len(contexts)].graph_inputs())
        done += 1
    return done


def _session(graph: bytes, changes: Mapping[str, Any]) -> Any:
    """As open_session makes it, but for the changes: attributes of the options, or entries with a dot."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    entries = {"session.intra_op.allow_spinning": "0"}
    for name, value in changes.items():
        if "." in name:
            entries[name] = value
        elif name == "graph_optimization_level":
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel(value)
        else:
            setattr(options, name, value)
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _all(session: Any, contexts: Sequence[Contexts]) -> Callable[[], None]:
    inputs = [one.graph_inputs() for one in contexts]

    def run() -> None:
        for one in inputs:
            session.run(["queries"], one)

    return run


if __name__ == "__main__":
    main()
