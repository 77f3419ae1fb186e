"""The trie holds exactly the lexicon, whatever the lexicon."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.hints.trie import ROOT, Trie, build_trie

END = 0
queries = st.lists(
    st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple), min_size=1, max_size=30, unique=True
)


def walks(trie: Trie, node: int = ROOT) -> list[tuple[int, list[int]]]:
    """(query, path) of every leaf, found by following children only."""
    if trie.query[node] >= 0:
        return [(int(trie.query[node]), [])]
    children = range(trie.first[node], trie.first[node] + trie.count[node])
    return [(query, [child, *path]) for child in children for query, path in walks(trie, child)]


@given(queries)
def test_every_walk_ends_at_a_query_and_every_query_is_reached_once(sequences: list[tuple[int, ...]]) -> None:
    found = walks(build_trie(sequences, END))
    assert sorted(query for query, _ in found) == list(range(len(sequences)))


@given(queries)
def test_the_tokens_along_a_path_tell_its_query_from_all_others(sequences: list[tuple[int, ...]]) -> None:
    trie = build_trie(sequences, END)
    for query, path in walks(trie):
        rest = iter((*sequences[query], END))
        assert all(int(trie.token[node]) in rest for node in path)  # in this order, with forced ones left out
        assert trie.path(int(trie.leaves()[query])) == path


@given(queries)
def test_no_inner_node_is_without_a_choice(sequences: list[tuple[int, ...]]) -> None:
    trie = build_trie(sequences, END)
    inner = np.flatnonzero(trie.query < 0)
    assert all(trie.count[node] >= 2 for node in inner if node != ROOT)
    for node in inner:
        children = slice(trie.first[node], trie.first[node] + trie.count[node])
        assert len(set(trie.token[children])) == trie.count[node]
        assert trie.queries[children].sum() == trie.queries[node]
        assert set(trie.parent[children]) == {node}


@given(queries)
def test_the_same_lexicon_gives_the_same_arrays(sequences: list[tuple[int, ...]]) -> None:
    once, again = build_trie(sequences, END), build_trie(list(sequences), END)
    for name in ("token", "parent", "first", "count", "query", "queries"):
        assert np.array_equal(getattr(once, name), getattr(again, name))
        assert getattr(once, name).dtype == np.int32


def test_a_query_that_begins_another_ends_with_the_end_token() -> None:
    trie = build_trie([(5,), (5, 6), (7, 8, 9)], END)
    milk, chocolate, plug = (trie.path(int(leaf)) for leaf in trie.leaves())
    assert [int(trie.token[node]) for node in milk] == [5, END]
    assert [int(trie.token[node]) for node in chocolate] == [5, 6]
    assert [int(trie.token[node]) for node in plug] == [7]
    assert trie.depth == 2


@pytest.mark.parametrize("sequences", [[(1,), (1,)], [()], [(1, END)]])
def test_queries_that_cannot_be_told_apart_are_refused(sequences: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"quer"):
        build_trie(sequences, END)
