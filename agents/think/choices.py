"""What a pointer becomes when a version is followed, tried, promoted or rolled back. Pure.

    follow      current.json names it: the version before is kept for a rollback
    try_out     a share of the users sees it; everybody else the version in use
    promote     people want it: the version that it replaces is held
    roll_back   people do not want it: it is held, and the version before is in use again

A loader follows `current.json`, and would undo at its next round what people decided in between. So the
pointer remembers what they decided against (`held`): a held version is followed by no loader, on whatever
machine and however old its folder is, until people promote it. A version that nobody decided against is
followed as ever, so tomorrow's comes after today's rollback.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from streams.errors import MappingError
from streams.think_entry import Canary, ThinkPointer

HELD_MAX: Final = 16
_UNCHANGED: Final = "Nothing was changed in Redis."


class Stored(NamedTuple):
    """A version whose entries are all in Redis."""

    version: str
    digest: str
    triggers: int


def is_held(pointer: ThinkPointer | None, version: str) -> bool:
    """Whether people decided against the version, and it is not in use."""
    return pointer is not None and version in pointer.held and version != pointer.version


def shown(pointer: ThinkPointer | None) -> frozenset[str]:
    """The versions that users see: in use and on trial."""
    if pointer is None:
        return frozenset()
    return frozenset((pointer.version, *([pointer.canary.version] if pointer.canary else [])))


def protected(pointer: ThinkPointer | None) -> frozenset[str]:
    """The versions that must not be deleted: those that users see, and the one before."""
    before = pointer.previous if pointer else None
    return shown(pointer) | ({before} if before else set())


def follow(pointer: ThinkPointer | None, stored: Stored) -> ThinkPointer:
    """The pointer after a loader found `stored` named; the same one if the version is held."""
    if pointer is not None and is_held(pointer, stored.version):
        return pointer
    return _served(pointer, stored)


def decided_since(seen: ThinkPointer | None, now: ThinkPointer | None) -> bool:
    """Whether people promoted or rolled back since the pointer was `seen`: each of that holds a version."""
    return (seen.held if seen else ()) != (now.held if now else ())


def try_out(pointer: ThinkPointer | None, stored: Stored, share: float) -> ThinkPointer:
    """The pointer with `stored` on trial. Raises MappingError without a version in use, or if that is it."""
    if pointer is None:
        raise MappingError(
            f"No mapping is served yet, so {stored.version} cannot be tried beside one. {_UNCHANGED}",
            action="Serve one first: `aigq think load`, or `aigq think promote VERSION`.",
        )
    if pointer.version == stored.version:
        raise MappingError(
            f"{stored.version} is the version in use: everybody sees it. {_UNCHANGED}",
            action="Name another version; `aigq think show` says what is served.",
        )
    canary = Canary(version=stored.version, share=share, digest=stored.digest, triggers=stored.triggers)
    return pointer.model_copy(update={"canary": canary})


def end_trial(pointer: ThinkPointer | None) -> ThinkPointer:
    """The pointer without a canary. Raises MappingError when there is none."""
    if pointer is None or pointer.canary is None:
        raise MappingError(
            f"There is no canary to end. {_UNCHANGED}", action="`aigq think show` says what is served."
        )
    return pointer.model_copy(update={"canary": None})


def promote(pointer: ThinkPointer | None, stored: Stored) -> ThinkPointer:
    """The pointer with `stored` in use by decision; the version that it replaces is held."""
    served = _served(pointer, stored)
    replaced = pointer.version if pointer else stored.version
    return _holding(served, replaced, but=stored.version)


def roll_back(pointer: ThinkPointer | None, before: Stored) -> ThinkPointer:
    """The pointer with the version before in use; a trial ends, the version in use until now is held.

    There is no version before then: a second rollback must not bring back what the first took away.
    """
    served = _served(pointer, before).model_copy(update={"previous": None, "canary": None})
    replaced = pointer.version if pointer else before.version
    return _holding(served, replaced, but=before.version)


def version_before(pointer: ThinkPointer | None) -> str:
    """What a rollback goes back to. Raises MappingError when there is nothing."""
    if pointer is None:
        raise MappingError(
            f"No mapping is served yet, so there is nothing to go back from. {_UNCHANGED}",
            action="Run `aigq think load` first.",
        )
    if pointer.previous is None:
        raise MappingError(
            f"There is no version before {pointer.version} in Redis. {_UNCHANGED}",
            action="Name the version that you want: `aigq think promote VERSION`.",
        )
    return pointer.previous


def _served(pointer: ThinkPointer | None, stored: Stored) -> ThinkPointer:
    facts = stored._asdict()
    if pointer is None:
        return ThinkPointer(**facts)
    if pointer.version == stored.version:
        return pointer.model_copy(update=facts)
    canary = pointer.canary if pointer.canary and pointer.canary.version != stored.version else None
    return pointer.model_copy(update=facts | {"previous": pointer.version, "canary": canary})


def _holding(pointer: ThinkPointer, replaced: str, *, but: str) -> ThinkPointer:
    """`replaced` is held, newest first; `but` is not."""
    held = dict.fromkeys((replaced, *pointer.held))
    held.pop(but, None)
    return pointer.model_copy(update={"held": tuple(held)[:HELD_MAX]})
