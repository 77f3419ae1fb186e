"""An onnxruntime session that can be stopped from another thread.

onnxruntime looks at a run's terminate flag before each node and each turn of a Loop (measured with 1.32: a
Loop without end returns within a millisecond). Not within a node: a thread in a single endless node cannot be
stopped, only left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

WARM_UP_WITHIN_S: Final = 60.0


class GraphSession:
    """A session and the switch of all its runs, as onnxruntime makes them (it ships no types)."""

    def __init__(self, session: Any, options: Any) -> None:
        self._session, self._options = session, options

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Any]) -> Any:
        """Run the graph. Raises whatever onnxruntime raises, at once after `stop`."""
        return self._session.run(list(outputs), dict(inputs), self._options)

    def stop(self) -> None:
        """End the run that goes on, if one does, and every later one until `go_on`."""
        self._options.terminate = True

    def go_on(self) -> None:
        """Run again after `stop`; only when the stopped run has returned."""
        self._options.terminate = False

    def get_inputs(self) -> Any:
        """As the session's own."""
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        """As the session's own."""
        return self._session.get_outputs()

    def get_modelmeta(self) -> Any:
        """As the session's own."""
        return self._session.get_modelmeta()


@contextmanager
def warmed_up(session: GraphSession, within_s: float = WARM_UP_WITHIN_S) -> Iterator[None]:
    """Around a first run: a graph that never returns must not keep whoever loads it."""
    timer = threading.Timer(within_s, session.stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
