"""Free TCP ports on loopback that stay free while a server is restarted.

Ports outside the range from which the system takes the local ports of outgoing connections: a client that
keeps trying to reach a server that is down may otherwise be given the server's own port, and occupy it.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _HIGHEST = 10_000, 65_000
_ATTEMPTS = 200


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the port, or with 0 to a free one; raises `OSError` when there is none."""
    if port:
        return _bind(host, port)
    for candidate in _candidates():
        try:
            return _bind(host, candidate)
        except OSError:
            continue
    return _bind(host, 0)


def free_port(host: str = HOST) -> int:
    """A port that was free just now; another process may take it before the caller does."""
    with bound_socket(host, 0) as bound:
        port: int = bound.getsockname()[1]
    return port


def _bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _candidates() -> list[int]:
    first, last = 32_768, 60_999
    if _RANGE_FILE.exists():
        first, last = (int(number) for number in _RANGE_FILE.read_text().split())
    outside = [*range(_LOWEST, min(first, _HIGHEST)), *range(max(last + 1, _LOWEST), _HIGHEST)]
    return random.sample(outside, min(_ATTEMPTS, len(outside)))
