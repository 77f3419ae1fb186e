from __future__ import annotations

import io

from rich.console import Console, RenderableType

from agents.offline_replay import OfflineResult
from agents.replay_compare import HINTS, Difference
from aigq.reports import (
    DIFFERENCES_SHOWN,
    render_differences,
    render_log_report,
    render_offline_result,
    render_replay_summary,
)
from streams.log_producer import ReplaySummary
from streams.log_report import validate_log
from tests.logs import CLEAN, FOREIGN


def shown(renderable: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(renderable)
    return out.getvalue()


def test_a_log_report_ends_with_the_verdict() -> None:
    passed, failed = (shown(render_log_report(validate_log(log), "shop")) for log in (CLEAN, FOREIGN))
    assert passed.splitlines()[-1].startswith("PASS  shop: all 12 records")
    assert failed.splitlines()[-1].startswith("FAIL  shop: 6 of 59 records")
    assert "search_without_query" in failed
    assert "First offenders" not in passed


def test_a_difference_is_shown_like_a_failed_test() -> None:
    difference = Difference(
        "u1", HINTS, ("milk", "[red]soda"), ("milk", "bread"), "hints differ at 2: a -> b"
    )
    text = shown(render_differences([difference], users=9))
    for part in ("u1", "why       hints differ at 2", "expected  milk, [red]soda", "got       milk, bread"):
        assert part in text
    assert text.splitlines()[-1] == "FAIL  1 of 9 users differ: hints 1"
    assert shown(render_differences([], users=9)).startswith("PASS  the lists of all 9 users")


def test_many_differences_are_cut_and_counted() -> None:
    many = [Difference(f"user{n}", HINTS, ("a",), ("b",), "…") for n in range(DIFFERENCES_SHOWN + 5)]
    text = shown(render_differences(many, users=99))
    assert "and 5 more users" in text
    assert f"user{DIFFERENCES_SHOWN}" not in text


def test_summaries_leave_out_what_did_not_happen() -> None:
    summary = ReplaySummary(sent=10, bad=0, skipped=0, already_sent=3, reordered=False, seconds=2.0)
    text = shown(render_replay_summary(summary))
    assert "10 in 2.0 s (5 events/s)" in text
    assert "dead letters" not in text
    counts = {"outcomes": {"applied": 5}, "decisions": {"first": 2}, "dead_letters": {}, "dropped": {}}
    result = OfflineResult(
        lists=(), events=5, skipped=0, users=2, requests=2, reordered=True, seconds=0.1, **counts
    )
    text = shown(render_offline_result(result))
    assert "applied 5" in text and "it was sorted" in text
    assert "dead letters" not in text
