"""Ranking by a real, tiny ONNX graph, and the reason shown with a hint."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from agents.hints.context import HABIT_BLOCK, QueryIndex, context_arrays
from agents.hints.generator import Candidate, open_session
from agents.hints.ranking import READ, Ranker, explain, query_vectors
from agents.hints.ranking_features import RANKING_FEATURES, F
from agents.session.window import WINDOW_LIMIT
from streams.hint_request import Behaviour, HintRequest, Int8, Version

DIM = 4
CONTEXT = (
    ("events", TensorProto.INT8, ["B", WINDOW_LIMIT, DIM]),
    ("actions", TensorProto.INT32, ["B", WINDOW_LIMIT]),
    ("ages", TensorProto.INT32, ["B", WINDOW_LIMIT]),
    ("interests", TensorProto.INT8, ["B", 2, DIM]),
    ("habits", TensorProto.INT16, ["P", HABIT_BLOCK, 3]),
    ("habit_rows", TensorProto.INT32, ["P"]),
)


class Words:
    """A text encoder with four words; nothing for no text."""

    name = "words"
    dim = DIM

    def embed(self, text: str) -> Int8:
        vector = np.zeros(DIM, np.int8)
        if text:
            vector[["milk", "bread", "beer", "soap"].index(text)] = 127
        return vector


def ranker_graph() -> bytes:
    """p = sigmoid(10 · shopper + log-popularity + 5 · count share − position); the context is not read."""
    weights = np.zeros((F, 1), np.float32)
    for name, weight in (("shopper", 10.0), ("log_popularity", 10.0), ("count_share", 5.0)):
        weights[RANKING_FEATURES.index(name)] = weight
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "axis"], ["relevance"]),
        helper.make_node("Cast", ["position"], ["place"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["relevance", "place"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ranker",
        [
            *(helper.make_tensor_value_info(name, kind, sizes) for name, kind, sizes in CONTEXT),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", F]),
            helper.make_tensor_value_info("numbers", TensorProto.INT32, ["N"]),
            helper.make_tensor_value_info("position", TensorProto.INT32, ["N"]),
            helper.make_tensor_value_info("rows", TensorProto.INT32, ["N"]),
        ],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N"])],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def request(*texts: str, likes: str = "") -> HintRequest:
    window = tuple(Behaviour(5, 1_000 - place, text) for place, text in enumerate(texts))
    vectors = np.stack([Words().embed(text) for text in texts]) if texts else np.zeros((0, DIM), np.int8)
    interests = np.stack([np.zeros(DIM, np.int8), Words().embed(likes)])
    return HintRequest("u", Version(1_000, 0), "first", 1.0, "words", window, vectors, interests)


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker(open_session(ranker_graph()), {"milk": 100, "bread": 10, "beer": 10})


def candidates(*queries: str) -> list[Candidate]:
    return [Candidate(query, -float(place)) for place, query in enumerate(queries)]


def sigmoid(*logits: float) -> list[float]:
    return [1 / (1 + math.exp(-logit)) for logit in logits]


INDEX = QueryIndex(["milk", "bread", "beer"])


def ordered(ranker: Ranker, listed: list[Candidate], of: HintRequest) -> list[Candidate]:
    (order,) = ranker.orders([listed], query_vectors([listed], Words()), context_arrays([of], INDEX))
    return [listed[place] for place in order]


def chances(ranker: Ranker, listed: list[Candidate], of: HintRequest) -> np.ndarray:
    return ranker.probabilities([listed], query_vectors([listed], Words()), context_arrays([of], INDEX))


def reason(query: str, of: HintRequest) -> str:
    vectors = query_vectors([candidates(query)], Words())
    (reasons,) = explain(vectors, [of], context_arrays([of], INDEX))
    return reasons[0]


def test_what_the_shopper_likes_comes_first(ranker: Ranker) -> None:
    found = ordered(ranker, candidates("milk", "bread", "beer"), request(likes="beer"))
    assert [candidate.query for candidate in found] == ["beer", "milk", "bread"]
    assert [candidate.score for candidate in found] == [-2.0, 0.0, -1.0]


def test_what_the_shopper_comes_back_to_is_found_by_its_number(ranker: Ranker) -> None:
    """Beer is bought twice, bread once; milk is the most popular one, but not of this past."""
    past = request("beer", "bread", "beer")
    p = chances(ranker, candidates("milk", "bread", "beer"), past)
    share = math.log2(2) / math.log2(3)
    expected = sigmoid(math.log(101), math.log(11) + 5 * share, math.log(11) + 5)
    assert p == pytest.approx(expected, abs=1e-3)  # counts are coded in steps
    assert [one.query for one in ordered(ranker, candidates("milk", "bread", "beer"), past)] == [
        "beer",
        "bread",
        "milk",
    ]


def test_probabilities_are_the_graphs_own(ranker: Ranker) -> None:
    p = chances(ranker, candidates("soap", "beer"), request(likes="beer"))
    assert p.dtype == np.float32
    assert p == pytest.approx(sigmoid(0.0, 10 + math.log(11)), abs=1e-6)


def test_a_query_out_of_the_lexicon_has_no_count_but_an_interest(ranker: Ranker) -> None:
    p = chances(ranker, candidates("soap", "milk"), request("soap", likes="soap"))
    assert p == pytest.approx(sigmoid(10.0, math.log(101)), abs=1e-6)


def test_every_candidate_is_compared_as_on_the_first_place(ranker: Ranker) -> None:
    four = candidates("milk", "bread", "beer", "soap")
    forward, back = (chances(ranker, order, request(likes="soap")) for order in (four, four[::-1]))
    assert forward.tolist() == back[::-1].tolist()
    context = context_arrays([request()], QueryIndex([]))
    places, numbers = np.array([0, 2], np.int32), np.zeros(2, np.int32)
    third = ranker.run(context, np.zeros((2, F), np.float32), numbers, places, numbers)
    assert third == pytest.approx(sigmoid(0.0, -2.0), abs=1e-6)


def test_ties_keep_the_generators_order(ranker: Ranker) -> None:
    found = ordered(ranker, candidates("beer", "milk", "bread"), request())
    assert [candidate.query for candidate in found] == ["milk", "beer", "bread"]


def test_what_is_not_read_stays_behind_however_likely(ranker: Ranker) -> None:
    listed = candidates(*["milk", "bread"] * (READ // 2), "beer")
    found = ordered(ranker, listed, request(likes="beer"))
    assert len(found) == READ + 1
    assert found[-1].query == "beer"


def test_an_empty_list_stays_empty(ranker: Ranker) -> None:
    assert ordered(ranker, [], request("milk")) == []


def test_lists_of_a_batch_are_ordered_each_by_its_own_shopper(ranker: Ranker) -> None:
    """Of different lengths, one of them empty."""
    lists = [candidates("milk", "bread", "beer"), [], candidates("beer", "soap")]
    asked = [request(likes="beer"), request("milk"), request(likes="soap")]
    contexts = context_arrays(asked, INDEX)
    vectors = query_vectors(lists, Words())
    assert ranker.orders(lists, vectors, contexts) == [[2, 0, 1], [], [1, 0]]
    alone = [chances(ranker, listed, of) for listed, of in zip(lists, asked, strict=True)]
    assert ranker.probabilities(lists, vectors, contexts).tolist() == np.concatenate(alone).tolist()


def test_the_nearest_behaviour_is_the_reason() -> None:
    assert reason("beer", request("milk", "beer")) == "purchase: beer"


def test_of_equally_near_behaviours_the_newest_is_the_reason() -> None:
    of = request("milk", *["beer"] * 20)
    earlier = (Behaviour(3, 900 + place, "beer") for place in range(19))
    of = replace(of, behaviours=(of.behaviours[0], Behaviour(1, 999, "beer"), *earlier))
    assert reason("beer", of) == "view: beer"


def test_nothing_near_is_no_reason() -> None:
    assert reason("soap", request("milk", "beer")) == ""
    assert reason("soap", request()) == ""
