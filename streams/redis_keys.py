"""Every Redis key of contract version 1.

Keys are bytes, so that any user id and any trigger can be one: nothing a shop sends can make a
lookup fail. User ids are taken as they are; triggers are normalised (`streams.query_text`).
"""

from __future__ import annotations

from typing import Final

from streams.query_text import normalise_query

PREFIX: Final = "aigq:1:"
ALL_KEYS: Final = b"aigq:1:*"  # for SCAN
DENY: Final = b"aigq:1:deny"
# Of the deny rules; readers need none of it. The braces put all into the slot of DENY in a Redis Cluster, so
# that a script may change them in one step.
DENY_RULES: Final = b"aigq:1:{aigq:1:deny}:rules"  # HASH of rule id to rule
DENY_VERSION: Final = b"aigq:1:{aigq:1:deny}:version"  # counts the changes of the rules
DENY_SWEPT: Final = b"aigq:1:{aigq:1:deny}:swept"  # the version up to which a sweep has ended
DENY_WHY: Final = b"aigq:1:{aigq:1:deny}:why"  # HASH of a query in DENY to the ids that put it there
DENY_AUDIT: Final = b"aigq:1:{aigq:1:deny}:audit"  # STREAM, never trimmed
THINK_CURRENT: Final = b"aigq:1:think:current"
# Written by the first worker, once: another value there, or none, says that Redis lost what it held.
ALIVE_SINCE: Final = b"aigq:1:alive::since"
# The loader's own book-keeping; readers need none of it.
THINK_VERSIONS: Final = b"aigq:1:think-versions"
THINK_LOCK: Final = "aigq:1:think-lock"


def hints_key(user: str) -> bytes:
    """LIST of the user's hint lists as JSON, newest first."""
    return _key(f"hints:{user}")


def think_key(version: str, trigger: str) -> bytes:
    """JSON entry of one trigger in one mapping version."""
    return _key(f"think:{version}:{normalise_query(trigger)}")


def think_index_key(version: str) -> bytes:
    """SET of the normalised triggers of a mapping version: by it a version is counted and deleted."""
    return _key(f"think-index:{version}")


def think_popular_key(version: str) -> bytes:
    """JSON list of a mapping version's popular queries: what `popular_key` gets when it is swapped in."""
    return _key(f"think-popular:{version}")


def think_progress_key(version: str) -> bytes:
    """How far the loader has written a version: ``digest:lines``."""
    return _key(f"think-progress:{version}")


def popular_key(application: str = "", locale: str = "") -> bytes:
    """JSON list of popular queries; both empty: the list for whoever has none of their own."""
    return _key(f"popular:{_part(application)}:{_part(locale)}")


def alive_key(worker: str) -> bytes:
    """Written by each worker that writes, to see that it can; says nothing, and lives for seconds."""
    return _key(f"alive:{worker}")


def popular_prefix() -> bytes:
    """What all keys of popular lists begin with."""
    return _key("popular:")


def _part(text: str) -> str:
    """A name in the middle of a key: a colon in it must not look like the key's own."""
    return text.replace("%", "%25").replace(":", "%3A")


def _key(rest: str) -> bytes:
    # JSON can smuggle in half of a surrogate pair, which UTF-8 proper cannot write.
    return f"{PREFIX}{rest}".encode("utf-8", "surrogatepass")
