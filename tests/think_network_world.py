"""A small world for the Think network: ten queries, a history with its points, a log of fixed facts."""

from __future__ import annotations

import torch

from tests.small_shop import ENCODER
from training.think.mining.facts import facts_of_line, rationale_of
from training.think.network.tokens import Lexicon
from training.think.network.transformer import ThinkNetwork, ThinkShape
from training.think.points import Fact, History, HistoryLine, InterestPoint

QUERIES = ["salsa", "refried beans", "sour cream", "baby wipes", "bibs", "green tea", "honey"]
QUERIES += ["taco shells", "diapers", "kettle"]
LEXICON = Lexicon(QUERIES)
SMALL = ThinkShape(width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=2)


class FixedBook:
    """20 baskets, 9 households, 40 % later, whatever the pair."""

    def of_pair(self, trigger: str, query: str) -> tuple[Fact, ...]:
        return (
            Fact(kind="baskets", trigger=trigger, query=query, value=20),
            Fact(kind="households", trigger=trigger, query=query, value=9),
            Fact(kind="later", trigger=trigger, query=query, value=40),
        )


BOOK = FixedBook()


def history_of(*texts: str, name: str = "h") -> History:
    """Each text a line, a day older than the one before it."""
    lines = [
        HistoryLine(index=place, days_ago=place, action="purchase", text=text, category="shelf")
        for place, text in enumerate(texts, 1)
    ]
    return History(name=name, as_of_ms=0, lines=tuple(lines))


HISTORY = history_of("taco shells", "bread", "taco shells", "diapers", "limes")


def point_of(history: History, triggers: tuple[int, ...], *queries: str) -> InterestPoint:
    """With the facts of its first one or two texts and of the pair, as the reference has them."""
    texts = list(dict.fromkeys(history.lines[index - 1].text for index in triggers))
    facts = (
        *(fact for text in texts[:2] for fact in facts_of_line(history, text)),
        *BOOK.of_pair(texts[0], queries[0]),
    )
    return InterestPoint(triggers=triggers, queries=queries, rationale=rationale_of(facts), facts=facts)


POINTS_OF_HISTORY = (
    point_of(HISTORY, (1, 3, 5), "salsa", "refried beans"),
    point_of(HISTORY, (4,), "baby wipes"),
)


def small_network(seed: int = 0, shape: ThinkShape = SMALL) -> ThinkNetwork:
    """With random weights."""
    torch.manual_seed(seed)
    count = len(QUERIES)
    units = torch.stack([torch.from_numpy(ENCODER.embed(query) / 127.0) for query in QUERIES]).float()
    network = ThinkNetwork(shape, units, torch.zeros(count), torch.rand(count, count).half())
    return network.eval()
