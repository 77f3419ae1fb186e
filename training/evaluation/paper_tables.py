"""The figures of the paper's Tables 1 and 2, its lift online (§5), and our arm in each row.

Direct rows stand beside our arms on direct sessions. Think rows stand beside those on day sessions: the same
kind of session and of label list, but no reasoning and no interest points. A row without an arm is one that
we do not have: no language model answers zero-shot here, and prompt compression (§3.2) has no counterpart,
since our contexts are vectors from the start.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CATE: Final = "cate_hr@30"
QUERY: Final = "query_hr@30"
SIMILARITY: Final = "semantic_similarity"
CATEGORIES: Final = "unique_categories"

TITLES: Final = {
    QUERY: "Query HR@30",
    CATE: "Cate HR@30",
    SIMILARITY: "Semantic similarity",
    CATEGORIES: "Unique categories",
}
EBR_ARM: Final = "ebr"
SFT_ARM: Final = "sft"  # of day sessions
DIRECT_SFT_ARM: Final = "direct_sft"
PAPER_UCTR_LIFT: Final = 0.0742


class PaperRow(NamedTuple):
    """name as in the paper; arm: ours, "" for none; think: compared with Think's SFT, not with Direct's."""

    name: str
    arm: str
    figures: dict[str, float]
    think: bool = False

    @property
    def sft_arm(self) -> str:
        """Ours that the row's ratio to SFT is taken to."""
        return SFT_ARM if self.think else DIRECT_SFT_ARM


def _full(name: str, arm: str, cate: float, similarity: float, query: float, unique: float) -> PaperRow:
    figures = {CATE: cate, SIMILARITY: similarity, QUERY: query, CATEGORIES: unique}
    return PaperRow(name, arm, figures, name.startswith("Think"))


def _step(name: str, arm: str, cate: float, query: float, *, think: bool = False) -> PaperRow:
    return PaperRow(name, arm, {CATE: cate, QUERY: query}, think)


TABLE_1: Final = (
    _full("EBR", EBR_ARM, 0.1998, 0.5198, 0.0100, 8.4),
    _full("Qwen3-30B-A3B, zero-shot", "", 0.3054, 0.5554, 0.0022, 5.4),
    _full("Gemini 3 Pro, zero-shot", "", 0.3449, 0.5475, 0.0017, 7.0),
    _full("GPT-5.1, zero-shot", "", 0.3353, 0.5606, 0.0021, 4.6),
    _full("Direct, SFT", DIRECT_SFT_ARM, 0.4181, 0.5926, 0.0428, 7.1),
    _full("Think, SFT", SFT_ARM, 0.4437, 0.6358, 0.0549, 7.7),
    _full("Direct, IL-SFT", "direct_il_sft", 0.4305, 0.5946, 0.0442, 7.5),
    _full("Think, IL-SFT", "il_sft", 0.4653, 0.6478, 0.0559, 10.3),
    _full("Direct, IL-SFT + GRPO", "direct_grpo", 0.3906, 0.6116, 0.0634, 4.7),
    _full("Think, IL-SFT + GRPO", "grpo", 0.4438, 0.6421, 0.0614, 8.0),
    _full("Direct, IL-SFT + IL-GRPO", "direct_il_grpo", 0.4695, 0.6341, 0.0679, 6.7),
    _full("Think, IL-SFT + IL-GRPO", "il_grpo", 0.4704, 0.6624, 0.0745, 9.8),
)
TABLE_2: Final = (
    _step("Direct, SFT", DIRECT_SFT_ARM, 0.4181, 0.0428),
    _step("+ interest-guided label re-ranking", "direct_il_sft", 0.4260, 0.0442),
    _step("+ prompt compression", "", 0.4305, 0.0442),
    _step("+ IL-GRPO", "direct_il_grpo", 0.4695, 0.0679),
    _step("Think, SFT", SFT_ARM, 0.4437, 0.0549, think=True),
    _step("+ interest-guided label re-ranking", "il_sft", 0.4492, 0.0594, think=True),
    _step("+ reasoning augmentation", "", 0.4653, 0.0559, think=True),
    _step("+ IL-GRPO", "il_grpo", 0.4704, 0.0745, think=True),
)


def paper_reference(arm: str, figure: str, *, think: bool = False) -> float:
    """The paper's figure in the row that ratios are taken to: EBR's, or SFT's of Direct or Think."""
    name = "EBR" if arm == EBR_ARM else "Think, SFT" if think else "Direct, SFT"
    return next(row.figures[figure] for row in TABLE_1 if row.name == name)
