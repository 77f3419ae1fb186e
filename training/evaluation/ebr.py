"""EBR, embedding-based retrieval: a two-tower network, the channel that the paper compares with (§6).

    u = MLP([interests, pooled window, pooled habits]) + A · pooled habits      user tower, (d,)
    q = table_q + W · text embedding of q                                       query tower, (d,)
    score = u · q + b_q                                                         b_q starts at log count

Pooled habits: sums of the query tower's own vectors of the shopper's past queries, with learned weights of
how often and how long ago. The loss is the cross-entropy of a softmax over *all* V queries against the
basket's phrases. Sampled softmax with logQ correction (Yi et al. 2019, "Sampling-Bias-Corrected Neural
Modeling for Large Corpus Item Recommendations") stands in for it where the full sum costs too much; with
V = 1,644 it does not, and has no bias to correct. For the same reason the search is exact, one matrix
product: an approximate index would save nothing and lose recall. Width, pools, loss and data are ours; the
paper gives none.

Chosen on November, recall@10 of next basket / rest: 0.3432 / 0.2473 as it stands (another seed: 0.3438 /
0.2471), 0.3420 / 0.2423 with two pools, 0.3401 / 0.2339 with those and d = 64. Longer was no better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor, nn

from agents.hints.context import ACTIONS, AGE_STEPS, AGES, COUNT_STEPS, Contexts
from streams.errors import TrainingError
from training.evaluation.counting_arms import LONGEST_LIST, left_out
from training.network import INT8_SCALE
from training.sessions import Sample, Samples, taken

if TYPE_CHECKING:
    from training.evaluation.cases import Cases, Recommender

Float32 = npt.NDArray[np.float32]

WIDTH: Final = 128  # d
HIDDEN_UNITS: Final = 256
POOLS: Final = 4
STEPS: Final = 3_000
BATCH: Final = 256
LEARNING_RATE: Final = 3e-3
WEIGHT_DECAY: Final = 0.01
BALANCE: Final = 0.5
SCORED_AT_ONCE: Final = 2_048


class TwoTower(nn.Module):
    """Both towers. queries: (V, D) float32 unit embeddings of the lexicon; counts: (V,)."""

    text: Tensor

    def __init__(self, queries: Tensor, counts: Tensor) -> None:
        super().__init__()
        size, dim = queries.shape
        self.register_buffer("text", queries)
        self.table = nn.Embedding(size, WIDTH)
        self.words = nn.Linear(dim, WIDTH, bias=False)
        self.bias = nn.Parameter(torch.log1p(counts.to(torch.float32)) - torch.log1p(counts.max()))
        self.action = nn.Parameter(torch.zeros(ACTIONS, POOLS))
        self.age = nn.Parameter(-torch.arange(AGES).unsqueeze(-1) * torch.logspace(0, -1, POOLS))
        self.facts, self.verdict = nn.Linear(2, 32), nn.Linear(32, POOLS)
        self.user = nn.Sequential(
            nn.Linear((2 + POOLS) * dim + POOLS * WIDTH, HIDDEN_UNITS),
            nn.ReLU(),
            nn.Linear(HIDDEN_UNITS, WIDTH),
        )
        self.along = nn.Linear(POOLS * WIDTH, WIDTH, bias=False)
        nn.init.normal_(self.table.weight, std=WIDTH**-0.5)

    def queries(self) -> Tensor:
        """(V, d)."""
        found: Tensor = self.table.weight + self.words(self.text)
        return found

    def users(self, contexts: Contexts, queries: Tensor) -> Tensor:
        """(B, d), from the arrays of B contexts and the query tower's vectors (V, d)."""
        wishes = torch.from_numpy(contexts.interests).to(torch.float32).flatten(1) / INT8_SCALE
        habits = self._habits(torch.from_numpy(contexts.habits), queries)
        known = torch.cat([wishes, self._window(contexts), habits], 1)
        user: Tensor = self.user(known) + self.along(habits)
        return user

    def forward(self, contexts: Contexts) -> Tensor:
        """Scores (B, V) of all queries: the exact search."""
        queries = self.queries()
        return self.users(contexts, queries) @ queries.T + self.bias

    def _window(self, contexts: Contexts) -> Tensor:
        """(B, POOLS·D): weighted means of the window's embeddings, weights by action and age."""
        events = torch.from_numpy(contexts.events).to(torch.float32) / INT8_SCALE
        actions, ages = torch.from_numpy(contexts.actions), torch.from_numpy(contexts.ages)
        shown = (actions > 0).unsqueeze(-1)
        weights = (F.embedding(actions, self.action) + F.embedding(ages, self.age)).exp() * shown
        return (weights.transpose(1, 2) @ events / (weights.sum(1).unsqueeze(-1) + 1e-3)).flatten(1)

    def _habits(self, habits: Tensor, queries: Tensor) -> Tensor:
        """(B, POOLS·d): weighted sums of the past queries' vectors."""
        numbers = habits[:, :, 0].to(torch.int64)
        facts = habits[:, :, 1:].to(torch.float32) / torch.tensor([COUNT_STEPS, 5 * AGE_STEPS])
        weights = F.softplus(self.verdict(F.relu(self.facts(facts)))) * (numbers > 0).unsqueeze(-1)
        blank = torch.zeros(len(numbers), len(queries) + 1)
        # As (B, V) matrices: two products with the queries cost less than gathering (B, H, d) vectors.
        sums = [blank.scatter_add(1, numbers, weights[:, :, pool])[:, 1:] @ queries for pool in range(POOLS)]
        size = (weights.square().sum(1) + 1e-6).sqrt() + 1.0  # a root of 0 has no gradient
        return (torch.stack(sums, 1) / size.unsqueeze(-1)).flatten(1)


def train_ebr(
    samples: Samples,
    queries: Float32,
    counts: npt.ArrayLike,
    *,
    seed: int,
    steps: int = STEPS,
    threads: int = 1,
) -> TwoTower:
    """Train on samples of both tasks. queries: (V, D) float32 unit embeddings; counts: (V,) of the lexicon.

    The same seed, data and threads give the same weights. Raises TrainingError when there is nothing to
    learn from or the loss is lost.
    """
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TwoTower(torch.from_numpy(queries), torch.as_tensor(np.asarray(counts)))
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False
    )
    for contexts, chosen in _batches(samples, steps, seed):
        loss = batch_loss(model(contexts), chosen)
        if not torch.isfinite(loss):
            raise TrainingError(
                "The loss of the two-tower baseline is not finite; no model was made.",
                action="Look at the embeddings and samples of this run.",
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # PyTorch gives it no types
        optimizer.step()
        schedule.step()
    return model.eval()


def batch_loss(scores: Tensor, samples: Sequence[Sample]) -> Tensor:
    """Cross-entropy of the full softmax against each basket's phrases; a basket of n weighs √n. Scalar."""
    rows = torch.tensor([row for row, sample in enumerate(samples) for _ in sample.items])
    items = torch.tensor([item for sample in samples for item in sample.items])
    weights = torch.tensor([len(sample.items) ** -BALANCE for sample in samples for _ in sample.items])
    chances = F.log_softmax(scores, 1)[rows, items]
    return -(chances * weights).sum() / weights.sum()


def ebr_arm(model: TwoTower, samples: Samples, lexicon: Sequence[tuple[str, int]]) -> Recommender:
    """Lists of the model for the cases of `samples`, whose rows name their contexts. lexicon: V queries."""
    names = [query for query, _ in lexicon]
    numbers = {query: number for number, query in enumerate(names)}

    def recommend(cases: Cases, novel: bool) -> list[list[str]]:
        lists = []
        for start in range(0, len(cases.rows), SCORED_AT_ONCE):
            rows = cases.rows[start : start + SCORED_AT_ONCE]
            with torch.no_grad():
                scores = model(taken(samples.contexts, rows)).numpy()
            for case, score in enumerate(scores, start):
                score[[numbers[text] for text in left_out(cases, case, novel) if text in numbers]] = -np.inf
                order = np.argsort(-score, kind="stable")[:LONGEST_LIST]
                lists.append([names[place] for place in order if score[place] > -np.inf])
        return lists

    return recommend


def _batches(samples: Samples, steps: int, seed: int) -> Iterator[tuple[Contexts, list[Sample]]]:
    """`steps` batches; each pass draws a new order of the samples."""
    usable = np.array([row for row, sample in enumerate(samples.samples) if sample.items], np.int64)
    if not len(usable):
        raise TrainingError(
            "No sample holds a query of the lexicon; no model was made.",
            action="Make the samples with the same lexicon, from a span with purchases.",
        )
    noise, order = np.random.default_rng(seed), usable[:0]
    for _ in range(steps):
        if len(order) < BATCH:
            order = np.concatenate([order, noise.permutation(usable)])
        rows, order = order[:BATCH], order[BATCH:]
        yield taken(samples.contexts, rows), [samples.samples[row] for row in rows]
