"""Where Redis is: one server, a primary that Sentinels know, or a Cluster.

    redis://[user:password@]host:port/db                      one server; rediss:// with TLS, unix:// a socket
    redis+sentinel://[user:password@]host:port,…/service/db   the Sentinels, and the name they watch
    redis+cluster://[user:password@]host:port,…               some nodes of a Cluster

rediss+sentinel:// and rediss+cluster:// speak TLS, with Sentinels too. No driver agrees with another on the
last two; these are the forms that several Python projects use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]

SENTINEL_PORT: Final = 26_379
REDIS_PORT: Final = 6_379
# Of a URL's query, for readers that have no settings; redis-py reads the same names for one server.
TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """What a URL says. hosts: of Sentinels or nodes; service, db: with Sentinels only."""

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls_options: tuple[tuple[str, str], ...] = ()


def parse_redis_url(url: str) -> RedisPlace:
    """Raises ValueError, whose text holds nothing of the URL. A single server's URL is left to redis-py."""
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    if not rest or base not in ("redis", "rediss", "unix") or kind not in ("", "sentinel", "cluster"):
        raise ValueError("it begins with none of the known schemes")
    if not kind:
        return RedisPlace("single", tls=base == "rediss")
    if base == "unix":
        raise ValueError("Sentinels and Clusters are not reached by a socket file")
    return _many(kind, base == "rediss", rest)  # type: ignore[arg-type] # one of the two, as was just checked


def _many(kind: Kind, tls: bool, rest: str) -> RedisPlace:
    split = urlsplit(f"//{rest}")
    login, _, places = split.netloc.rpartition("@")
    username, _, password = login.partition(":")
    default = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    hosts = tuple(_host(place, default) for place in places.split(",") if place)
    parts = [unquote(part) for part in split.path.split("/") if part]
    if not hosts:
        raise ValueError("it names no host")
    if kind == "cluster" and parts:
        raise ValueError("a Cluster has no databases, so nothing may stand after the hosts")
    if kind == "sentinel" and not (
        parts and len(parts) <= 2 and parts[1:] == [p for p in parts[1:] if p.isdecimal()]
    ):
        raise ValueError("after the Sentinels comes /service or /service/db")
    return RedisPlace(
        kind=kind,
        tls=tls,
        hosts=hosts,
        service=parts[0] if parts else "",
        db=int(parts[1]) if len(parts) > 1 else 0,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls_options=tuple((k, v) for k, v in parse_qsl(split.query) if k in TLS_OPTIONS),
    )


def _host(place: str, default: int) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):  # an IPv6 address without a port ends with a bracket
        host, port = place, str(default)
    if not host or not port.isdecimal():
        raise ValueError("its hosts must look like host:port[,host:port]")
    return host.strip("[]"), int(port)
