"""Settings of IL-GRPO: one that cannot be meant is refused by its name."""

from __future__ import annotations

from typing import Any

import pytest

from streams.errors import TrainingError
from training.grpo_config import GrpoConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"level": "token"},
        {"group": 1},
        {"top_k": 0},
        {"steps": 0},
        {"temperature": 0.0},
        {"eps": 0.0},
        {"gamma": float("nan")},
        {"gamma": float("inf")},
        {"w_rouge": -0.1},
        {"w_hit": 0.5, "sessions": "direct"},
        {"w_ctr": 0.0, "w_rouge": 0.0},
        {"length_band": (3, 2)},
        {"length_band": (0, 2)},
        {"near_duplicate": 0.0},
        {"difficulty": (0.9, 0.1)},
        {"difficulty": (0.1, float("nan"))},
        {"clip_low": 0.6},
        {"clip_high": 1.0},
        {"entropy_quantile": 1.1},
        {"kl": -1.0},
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError) as refusal:
        GrpoConfig(**settings)
    assert next(iter(settings)) in refusal.value.message
    assert refusal.value.action
