"""A server as a child process behind its guard: start, stop, kill, and what its log says when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import streams
from streams.embedded import guard
from streams.errors import EmbeddedServerError

STOP_TIMEOUT_S = 20.0
_LOG_TAIL_BYTES = 2000


class GuardedChild:
    """One run of a server; `pid` is the server's own, not the guard's."""

    def __init__(
        self, name: str, command: list[str], *, log_path: Path, lock_path: Path | None = None
    ) -> None:
        self._name = name
        self._log_path = log_path
        self._unread = b""
        lock = ["--lock", str(lock_path)] if lock_path is not None else []
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self._guard = subprocess.Popen(  # noqa: S603  # the command is our own
                [sys.executable, "-I", "-S", guard.__file__, *lock, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )
        first = self.read_message(STOP_TIMEOUT_S)
        if first is None or "pid" not in first:
            self._guard.wait(STOP_TIMEOUT_S)
            self._close_pipes()
            raise self._refused(first)
        self.pid = int(first["pid"])

    def _refused(self, message: dict[str, Any] | None) -> EmbeddedServerError:
        if message is not None and "locked_by" in message:
            return EmbeddedServerError(
                f"The data folder of {self._name} belongs to a running server, "
                f"process {message['locked_by']}. Nothing was changed.",
                action="Stop that server, or choose another folder.",
            )
        return self.failure("did not start")

    @property
    def is_running(self) -> bool:
        """Whether the server lives."""
        return self._guard.poll() is None

    def read_message(self, timeout_s: float) -> dict[str, Any] | None:
        """The next line of JSON on the server's stdout, None when it ends or takes too long."""
        assert self._guard.stdout is not None  # noqa: S101  # we asked for a pipe
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            left_s = deadline_s - time.monotonic()
            readable, _, _ = select.select([self._guard.stdout], [], [], max(left_s, 0))
            chunk = os.read(self._guard.stdout.fileno(), 4096) if readable else b""
            if not chunk:
                return None
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def failure(self, what: str) -> EmbeddedServerError:
        """An error with the end of the server's log."""
        tail = _tail(self._log_path)
        return EmbeddedServerError(
            f"The embedded {self._name} {what}. Its log ends with:\n{tail}\n",
            action=f"The whole log is {self._log_path}.",
        )

    def stop(self) -> int:
        """Ask the server to stop, wait for it, and give its exit code; it is killed if it does not stop."""
        with contextlib.suppress(BrokenPipeError):
            if self._guard.stdin is not None:
                self._guard.stdin.close()
        return self._wait()

    def kill(self) -> None:
        """SIGKILL, as if the machine's memory had run out."""
        if self.is_running:  # the guard has not reaped the server, so the id is still its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> int:
        try:
            code = self._guard.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            code = self._guard.wait()
        self._close_pipes()
        return code

    def _close_pipes(self) -> None:
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                pipe.close()


def _environment() -> dict[str, str]:
    """Ours, with the folder that `streams` was imported from: the child must find it too."""
    root = str(Path(str(streams.__file__)).parent.parent)
    path = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}


def _tail(path: Path) -> str:
    if not path.exists():
        return "(no log)"
    with path.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        return log.read().decode(errors="replace").strip() or "(empty)"
