"""A worker that nobody waits for, so that it can be killed while it starts, recovers or works."""

from __future__ import annotations

import os
import signal
import time

from aigq.services import WORKER_READY_S, WorkerProcess
from streams.embedded.child import GuardedChild
from tests.shop import Shop


class RestlessWorker(WorkerProcess):
    """Started without waiting; `wait_until_ready` before its metrics are asked for."""

    def _launch(self) -> GuardedChild:
        return self._spawn()

    def wait_until_ready(self) -> None:
        ready = self._started().read_message(WORKER_READY_S)
        assert ready is not None, self._started().failure("did not start")
        self.health_url = str(ready["health"])


def restless(shop: Shop, **settings: str) -> RestlessWorker:
    """Start a worker with the session and hints roles; it is stopped with the shop."""
    folder = shop.folder / f"worker-{len(shop.workers)}"
    environ = {**shop.environ, "AIGQ_WORKER_NAME": folder.name, **settings}
    worker = RestlessWorker(folder, environ, roles=("session", "hints")).start()
    shop.workers.append(worker)
    return worker


def freeze(worker: WorkerProcess) -> None:
    """SIGSTOP: it holds all that it has in hand, and answers nobody."""
    os.kill(worker.pid, signal.SIGSTOP)


def thaw(worker: WorkerProcess) -> None:
    os.kill(worker.pid, signal.SIGCONT)


def restart_if_it_ended(worker: WorkerProcess, within_s: float) -> bool:
    """What a supervisor does, for some seconds. Returns whether it had ended; going on is fine, too."""
    until_s = time.monotonic() + within_s
    while worker.is_running and time.monotonic() < until_s:
        time.sleep(0.1)
    if worker.is_running:
        return False
    worker.restart()
    return True
