"""What Think serves: the mapping alone by a case's latest triggers, and beside the own list as readers merge.

    think            the entries of the case's latest triggers, in turn
    direct_think     the bundle's list and Think, merged by the reader's own functions and its places
    direct_popular   the bundle's list, then the mapping's popular list: what a page is filled with without
                     Think, so that what Think adds is not mistaken for what any longer page would

All read streams.hint_answer.merge; a page has 30 places, of which a bundle's list fills its K at most.
"""

from __future__ import annotations

from agents.think.folder_entries import FolderEntries
from streams.hint_answer import Tiers, opened, suggested
from training.datasets.dataset import Dataset
from training.evaluation.bundle_arm import BundleArm
from training.evaluation.cases import Cases, Recommender
from training.evaluation.moments import Key, Moment, Moments, moments_of


def moments_alone(data: Dataset, part: str) -> Moments:
    """The cases' moments without a bundle."""
    sources = moments_of(data, part, data.encoder(), data.queries)
    return Moments({source.key: source.moment for source in sources})


def think_arm(moments: Moments, entries: FolderEntries) -> Recommender:
    """The mapping alone."""

    def tiers(_: Key, moment: Moment) -> Tiers:
        return Tiers(think=opened(entries.of(moment.triggers)), held=moment.held)

    return lambda cases, novel: moments.pages(cases, novel, tiers)


def direct_think_arm(bundle: BundleArm, entries: FolderEntries, think_places: int) -> Recommender:
    """The bundle's list and Think's entries as a reader merges them."""

    def tiers(key: Key, moment: Moment) -> Tiers:
        own = bundle.tiers(key)
        return Tiers(own.own, opened(entries.of(moment.triggers)), held=own.held)

    def recommend(cases: Cases, novel: bool) -> list[list[str]]:
        return bundle.moments.pages(cases, novel, tiers, think_places)

    return recommend


def direct_popular_arm(bundle: BundleArm, entries: FolderEntries) -> Recommender:
    """The bundle's list, then popular queries."""
    popular = tuple(suggested(entries.popular, "popular"))

    def tiers(key: Key, _: Moment) -> Tiers:
        own = bundle.tiers(key)
        return Tiers(own.own, rest=popular, held=own.held)

    return lambda cases, novel: bundle.moments.pages(cases, novel, tiers)
