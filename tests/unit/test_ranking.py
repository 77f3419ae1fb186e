"""Ranking by a real, tiny ONNX graph, and the reason shown with a hint."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from agents.hints.generator import Candidate, open_session
from agents.hints.ranking import Ranker, explain
from streams.hint_request import Behaviour, HintRequest, Int8, Version

DIM = 4


class Words:
    """A text encoder with four words."""

    name = "words"
    dim = DIM

    def embed(self, text: str) -> Int8:
        vector = np.zeros(DIM, np.int8)
        place = ["milk", "bread", "beer", "soap"].index(text) if text else 0
        vector[place] = 127
        return vector


def ranker_graph() -> bytes:
    """p = sigmoid(10 · shopper interest · query + 0.1 · log-popularity − 0.01 · position)."""
    floats = TensorProto.FLOAT
    tensors: dict[str, np.ndarray] = {
        "shopper": np.array(1, np.int64),
        "ten": np.array(10, np.float32),
        "tenth": np.array(0.1, np.float32),
        "hundredth": np.array(0.01, np.float32),
        "axis": np.array([1], np.int64),
        "flat": np.array([-1], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["interests", "shopper"], ["wish"], axis=1),
        helper.make_node("Mul", ["wish", "query"], ["product"]),
        helper.make_node("ReduceSum", ["product", "axis"], ["match"]),
        helper.make_node("Mul", ["match", "ten"], ["a"]),
        helper.make_node("Mul", ["log_popularity", "tenth"], ["b"]),
        helper.make_node("Mul", ["position", "hundredth"], ["c"]),
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Sub", ["ab", "c"], ["abc"]),
        helper.make_node("Sigmoid", ["abc"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["p"]),
    ]
    inputs = [
        helper.make_tensor_value_info("interests", floats, ["N", 2, DIM]),
        helper.make_tensor_value_info("query", floats, ["N", DIM]),
        helper.make_tensor_value_info("position", floats, ["N", 1]),
        helper.make_tensor_value_info("log_popularity", floats, ["N", 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "ranker",
        inputs,
        [helper.make_tensor_value_info("p", floats, ["N"])],
        [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()],
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
    return Ranker(open_session(ranker_graph()), Words(), {"milk": 100, "bread": 10, "beer": 10})


def candidates(*queries: str) -> list[Candidate]:
    return [Candidate(query, -float(place)) for place, query in enumerate(queries)]


def test_what_the_shopper_likes_comes_first(ranker: Ranker) -> None:
    ordered = ranker.order(candidates("milk", "bread", "beer"), request("milk", likes="beer"))
    assert [candidate.query for candidate in ordered] == ["beer", "milk", "bread"]
    assert [candidate.score for candidate in ordered] == [-2.0, 0.0, -1.0]


def test_probabilities_are_the_graphs_own(ranker: Ranker) -> None:
    p = ranker.probabilities(candidates("soap", "beer"), request(likes="beer"))
    logits = np.array([0.0, 10 + 0.1 * np.log(11) - 0.01])
    assert p == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


def test_an_empty_list_stays_empty(ranker: Ranker) -> None:
    assert ranker.order([], request("milk")) == []


def test_the_nearest_behaviour_is_the_reason() -> None:
    assert explain("beer", request("milk", "beer"), Words()) == "purchase: beer"


def test_nothing_near_is_no_reason() -> None:
    assert explain("soap", request("milk", "beer"), Words()) == ""
    assert explain("soap", request(), Words()) == ""


def test_another_encoders_vectors_are_not_compared() -> None:
    foreign = request("beer", "milk")
    foreign = HintRequest(
        foreign.user, foreign.version, "first", 1.0, hashlib.sha256().hexdigest(), foreign.behaviours,
        np.roll(foreign.vectors, 1, axis=1), foreign.interests,
    )  # fmt: skip
    assert explain("beer", foreign, Words()) == "purchase: beer"
