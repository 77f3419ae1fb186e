"""Every setting of IL-GRPO, and where its value comes from.

[P §x] is the AIGQ paper. [ROLL] is the stock Qwen3-30B-A3B example of the framework that the paper names,
the best guess for what its authors left unchanged. [Archer] is arXiv 2507.15778, which the paper cites for
its clipping. "Ours" stands where the paper gives no value.

There is no `value_clip`, although the paper names one (±0.5): it bounds the loss of a critic, and GRPO has
no critic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from streams.errors import TrainingError

Level = Literal["query", "sequence"]
Sessions = Literal["day", "direct"]


@dataclass(frozen=True, slots=True)
class GrpoConfig:
    """Settings of one run. Raises TrainingError for a value that cannot be meant."""

    # "query": IL-GRPO, an advantage per slot [P Eq 11]. "sequence": plain GRPO, one per list, to compare.
    level: Level = "query"
    sessions: Sessions = "day"  # what lists are compared with; see training.label_blocks

    # Rollouts. Log-probabilities must be read at the temperature and top_k that the lists were drawn with.
    group: int = 8  # G, lists per context [P §3.5.4, ROLL]
    # Paper 1.0 [P §3.5.4], ROLL 0.99. Ours: at 1 our flat policy (e^3.6 choices a slot) is trained on lists
    # far from the one it serves, its likeliest, and what stands tenth there gets worse: docs/log.md.
    temperature: float = 0.3
    top_k: int = 100  # queries open to each slot [P §3.5.4, ROLL]; with less than K no list can be filled

    # Query rewards: R_query = Σ w_m r_m [P Eq 10]; the paper gives no weight.
    gamma: float = 5.0  # γ, scale of r_CTR [P Eq 14]; ours: p̂ = 0.2 earns β
    beta: float = 1.0  # β, upper clip of r_CTR [P Eq 14]; ours: as much as ROUGE-L can give
    w_ctr: float = 1.0  # ours; "a primary component" [P §3.5.1]
    w_rouge: float = 0.3  # ours
    w_length: float = 0.1  # ours
    w_hit: float = 0.0  # not in the paper: an option to measure
    w_novelty: float = 0.0  # not in the paper: an option to measure
    length_band: tuple[int, int] = (1, 4)  # sub-words; ours: holds every phrase of our lexicon

    # Sequence rewards: R_seq = R_fmt + R_rep, each with weight 1 [P Eq 10].
    near_duplicate: float = 0.75  # similarity; ours: in ROUGE-L one word added to two is 0.8, to one 0.67
    w_coverage: float = 0.0  # not in the paper: an option to measure
    w_any_click: float = 0.0  # not in the paper: an option to measure
    any_click_of: int = 3  # hints that are shown at once [P §3.3.1]
    reward_clip: float = 10.0  # ± [P §3.5.4, ROLL]

    # Advantages.
    sequence_weight: float = 0.5  # λ [P Eq 11]; ours
    eps: float = 1e-4  # ε inside the root of σ [P Eq 13]; ours: a spread far below 0.01 is no signal
    advantage_clip: float = 2.0  # ± [P §3.5.4, ROLL]
    difficulty: tuple[float, float] = (0.1, 0.95)  # of the group's mean, strictly between [P §3.5.4, ROLL]

    # Policy loss.
    clip_low: float = 0.2  # ε of choices with low entropy [Archer]; ROLL clips all at 0.2
    clip_high: float = 0.5  # ε of choices with high entropy [Archer]
    entropy_quantile: float = 0.8  # where "high" begins, over the batch [P §3.5.4]; Archer: per response
    entropy_bonus: float = 0.01  # β(0), falls linearly to 0 at the last step [P §3.5.4]; value ours
    kl: float = 0.0  # weight of the KL to a reference policy: none in the paper, 0 in ROLL

    # The run.
    learning_rate: float = 2e-4  # ours: the 1e-6 of [P §3.5.4, ROLL] moves 30B parameters, we have a million
    decoder_rate: float = 0.05  # of the learning rate, for all but the prior; ours
    batch: int = 64  # contexts per step [ROLL]; 64 × 8 lists are the paper's 512, if it counts lists
    steps: int = 300  # ours: with more the ranker's order is all that is left to learn
    seed: int = 0

    def __post_init__(self) -> None:
        for name, fits, wish in self._rules():
            if not fits:
                raise TrainingError(
                    f"The IL-GRPO setting {name} is {getattr(self, name)!r}; nothing was trained.",
                    action=f"Give {name} {wish}.",
                )

    @property
    def best_query_reward(self) -> float:
        """The most that one hint can earn: what the difficulty filter scales scores with."""
        return min(self.reward_clip, self.w_ctr * self.beta + self.w_rouge + self.w_hit + self.w_novelty)

    def _rules(self) -> Iterator[tuple[str, bool, str]]:
        """(setting, does its value fit, what would fit); a NaN fits nowhere."""
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            finite = all(isinstance(number, str) or math.isfinite(number) for number in numbers)
            yield field.name, finite, "finite numbers"
        yield "level", self.level in ("query", "sequence"), '"query" (IL-GRPO) or "sequence" (plain GRPO)'
        yield "group", self.group >= 2, "2 lists or more: one has nothing to be compared with"
        for name in ("top_k", "any_click_of", "batch", "steps"):
            yield name, getattr(self, name) >= 1, "a number of at least 1"
        positive = ("temperature", "gamma", "beta", "eps", "learning_rate", "reward_clip", "advantage_clip")
        for name in positive:
            yield name, getattr(self, name) > 0, "a number above 0"
        weights = ("w_ctr", "w_rouge", "w_length", "w_hit", "w_novelty", "w_coverage", "w_any_click")
        for name in (*weights, "sequence_weight", "entropy_bonus", "kl"):
            yield name, getattr(self, name) >= 0, "0 or more"
        yield "w_ctr", self.best_query_reward > 0, "a weight above 0, or one to w_rouge, w_hit or w_novelty"
        yield "length_band", 1 <= self.length_band[0] <= self.length_band[1], "(low, high) from 1 up"
        yield "near_duplicate", 0 < self.near_duplicate <= 1, "a similarity above 0, at most 1"
        earns = self.sessions == "day" or not self.w_hit
        yield "w_hit", earns, "0 with direct sessions, which hold nothing of the basket"
        low, high = self.difficulty
        yield "difficulty", low < high, "(low, high) with low below high"
        yield "clip_low", 0 < self.clip_low <= self.clip_high, "a number above 0, at most clip_high"
        yield "clip_high", self.clip_high < 1, "a number below 1, or ratios near 0 are never clipped"
        yield "entropy_quantile", 0 <= self.entropy_quantile <= 1, "a share, 0 to 1"
