"""A version's life, in values: who sees a canary, and what a decision makes of the pointer."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from agents.think.choices import (
    HELD_MAX,
    Stored,
    end_trial,
    follow,
    is_held,
    promote,
    protected,
    roll_back,
    try_out,
    version_before,
)
from streams.errors import MappingError
from streams.think_entry import Canary, ThinkPointer, mapping_for

USERS = [f"household-{number}" for number in range(20_000)]
V1, V2, V3 = (Stored(name, f"digest of {name}", 3) for name in ("v1", "v2", "v3"))


def test_a_canary_is_seen_by_its_share_of_the_users_and_always_by_the_same() -> None:
    tenth = ThinkPointer(version="old", canary=Canary(version="new", share=0.1))
    seen = [user for user in USERS if mapping_for(tenth, user) == "new"]
    assert len(seen) / len(USERS) == pytest.approx(0.1, abs=0.01)
    more = tenth.model_copy(update={"canary": Canary(version="new", share=0.3)})
    assert {mapping_for(more, user) for user in seen} == {"new"}  # a larger share only adds users
    other = tenth.model_copy(update={"canary": Canary(version="next", share=0.1)})
    again = sum(mapping_for(other, user) == "next" for user in seen)
    assert again / len(seen) == pytest.approx(0.1, abs=0.03)  # the next canary meets other users


def test_the_share_is_the_one_that_other_languages_compute() -> None:
    place = int(sha256(b"new:household-17").hexdigest()[:8], 16) / 2**32
    for share, sees in ((place - 1e-6, "old"), (place + 1e-6, "new")):
        pointer = ThinkPointer(version="old", canary=Canary(version="new", share=share))
        assert mapping_for(pointer, "household-17") == sees


@pytest.mark.parametrize(("share", "sees"), [(0.0, "old"), (1.0, "new")])
def test_no_share_and_a_whole_share(share: float, sees: str) -> None:
    pointer = ThinkPointer(version="old", canary=Canary(version="new", share=share))
    assert {mapping_for(pointer, user) for user in USERS[:500]} == {sees}


def test_nobody_is_in_no_canary_and_a_broken_user_id_breaks_nothing() -> None:
    pointer = ThinkPointer(version="old", canary=Canary(version="new", share=1.0))
    assert mapping_for(pointer, "") == "old"
    assert mapping_for(pointer, "\ud800") == "new"
    assert mapping_for(ThinkPointer(version="old"), "household-17") == "old"


def pointer_after(*steps: Callable[[ThinkPointer | None], ThinkPointer]) -> ThinkPointer:
    pointer: ThinkPointer | None = None
    for step in steps:
        pointer = step(pointer)
    assert pointer is not None
    return pointer


def test_a_followed_version_keeps_the_one_before() -> None:
    pointer = pointer_after(lambda p: follow(p, V1), lambda p: follow(p, V2))
    assert (pointer.version, pointer.previous, pointer.digest) == ("v2", "v1", V2.digest)
    assert follow(pointer, V2) == pointer


def test_what_was_rolled_back_is_not_followed_but_a_newer_one_is() -> None:
    pointer = pointer_after(
        lambda p: follow(p, V1), lambda p: follow(p, V2), lambda p: roll_back(p, V1), lambda p: follow(p, V2)
    )
    assert (pointer.version, pointer.previous, pointer.held) == ("v1", None, ("v2",))
    assert is_held(pointer, "v2") and not is_held(pointer, "v3")
    newer = follow(pointer, V3)
    assert (newer.version, newer.previous) == ("v3", "v1")
    assert follow(newer, V2) == newer  # an old folder somewhere does not bring it back either


def test_what_was_promoted_is_not_undone_by_a_folder_that_names_the_old_one() -> None:
    pointer = pointer_after(lambda p: follow(p, V1), lambda p: promote(p, V2), lambda p: follow(p, V1))
    assert (pointer.version, pointer.previous, pointer.held) == ("v2", "v1", ("v1",))
    assert roll_back(pointer, V1).version == "v1"
    assert roll_back(pointer, V1).held == ("v2",)


def test_a_promotion_lifts_the_hold() -> None:
    pointer = pointer_after(
        lambda p: follow(p, V1), lambda p: follow(p, V2), lambda p: roll_back(p, V1), lambda p: promote(p, V2)
    )
    assert (pointer.version, pointer.previous, pointer.held) == ("v2", "v1", ("v1",))


def test_a_second_rollback_does_not_bring_back_what_the_first_took_away() -> None:
    pointer = pointer_after(lambda p: follow(p, V1), lambda p: follow(p, V2), lambda p: roll_back(p, V1))
    with pytest.raises(MappingError, match="no version before v1"):
        version_before(pointer)


def test_a_canary_stands_beside_the_version_in_use_and_goes_when_it_is_promoted() -> None:
    pointer = pointer_after(lambda p: follow(p, V1), lambda p: try_out(p, V2, 0.1))
    assert (pointer.version, pointer.canary and pointer.canary.version) == ("v1", "v2")
    assert protected(pointer) == {"v1", "v2"}
    assert follow(pointer, V3).canary == pointer.canary
    assert promote(pointer, V2).canary is None
    assert roll_back(pointer, V3).canary is None
    assert end_trial(pointer).canary is None


@pytest.mark.parametrize(
    "step",
    [
        lambda: try_out(None, V2, 0.1),
        lambda: try_out(follow(None, V1), V1, 0.1),
        lambda: end_trial(follow(None, V1)),
        lambda: version_before(None),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(step: Callable[[], object]) -> None:
    with pytest.raises(MappingError) as caught:
        step()
    assert caught.value.action


def test_only_so_many_holds_are_remembered() -> None:
    pointer: ThinkPointer | None = None
    for number in range(HELD_MAX + 9):
        pointer = promote(pointer, Stored(f"v{number}", "d", 1))
    assert pointer is not None
    assert pointer.held[0] == f"v{HELD_MAX + 7}"
    assert len(pointer.held) == HELD_MAX
