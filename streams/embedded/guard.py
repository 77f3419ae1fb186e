"""Runs one server for as long as the process that started it lives. Standard library only, and quick to
start.

    python guard.py [--lock FILE] -- COMMAND...

The starter holds the write end of our stdin. When that closes, because the starter stops us, ends, crashes
or is killed, the server gets SIGTERM, and SIGKILL if it does not go. When we are killed ourselves, Linux
kills the server (PR_SET_PDEATHSIG). We run in a session of our own, so a terminal's Ctrl-C reaches the
starter alone.

The first line on stdout is JSON: `{"pid": ...}`, or `{"locked_by": ...}` when another server owns the lock
file, which is held until the server itself is gone. We end with the server's exit code.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys

STOP_TIMEOUT_S = 15.0
LOCKED_EXIT_CODE = 75
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.5


def _die_with_parent() -> None:
    """In the child, before exec; safe here, since this process has one thread only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _take_lock(path: str) -> int | None:
    """A descriptor that the server inherits: the lock is free again when both of us are gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 100).decode(errors="replace").strip()
        _tell({"locked_by": owner or "unknown"})
        return None
    os.set_inheritable(descriptor, True)
    return descriptor


def _tell(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _starter_is_gone(starter_pid: int, timeout_s: float) -> bool:
    """Waits; the process id too, since a fork of the starter may hold the other end of our stdin open."""
    readable, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return (bool(readable) and not os.read(sys.stdin.fileno(), 1)) or os.getppid() != starter_pid


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _watch(server: subprocess.Popen[bytes], starter_pid: int) -> int:
    """Until the server has ended; its exit code, negative for a signal."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin, ended], [], [], _POLL_S)
        if ended in readable:
            os.read(ended, 512)  # a signal woke us; unread it would do so again at once
        if server.poll() is None and _starter_is_gone(starter_pid, 0):
            _stop(server)
    return server.returncode


def main(arguments: list[str]) -> int:
    """The command; see the module's docstring."""
    starter_pid = os.getppid()
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    lock = None
    if options[:1] == ["--lock"]:
        lock = _take_lock(options[1])
        if lock is None:
            return LOCKED_EXIT_CODE
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = subprocess.Popen(  # noqa: S603  # the command is our own
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
        pass_fds=[lock] if lock is not None else [],
        start_new_session=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    if lock is not None:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{server.pid}\n".encode(), 0)
    _tell({"pid": server.pid})
    code = _watch(server, starter_pid)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
