from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from streams.errors import DatasetError
from streams.log_report import OFFENDERS_SHOWN, validate_log
from tests.logs import CLEAN, FOREIGN, write_jsonl
from tests.support import LATER_MS, NOON_MS, event_json


def test_a_clean_log_passes_with_its_counts() -> None:
    report = validate_log(CLEAN).as_dict()
    assert (report["verdict"], report["events"], report["bad"], report["users"]) == ("PASS", 12, 0, 3)
    assert report["actions"]["purchase"] == 3
    assert (report["first"], report["last"]) == ("2025-03-03T09:00:00.000Z", "2025-03-03T09:03:20.000Z")


def test_a_foreign_log_names_its_bad_lines_and_reads_all_others() -> None:
    report = validate_log(FOREIGN)
    assert not report.passed
    assert [(offender.line, offender.reason) for offender in report.offenders] == [
        (18, "bad_timestamp"),
        (25, "timestamp_too_old"),
        (31, "search_without_query"),
        (39, "no_person"),
        (40, "not_json"),
        (53, "not_json"),
    ]
    assert (report.good, report.duplicates, report.out_of_order, report.without_text) == (53, 1, 2, 1)
    assert report.unknown_actions == {"wishlist_add": 1}
    assert orjson.loads(orjson.dumps(report.as_dict()))["bad_reasons"]["not_json"] == 2


def test_only_the_first_offenders_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    report = validate_log(write_jsonl(tmp_path / "log", [b"bad"] * 30))
    assert (report.bad, len(report.offenders), report.passed) == (30, OFFENDERS_SHOWN, False)
    assert report.as_dict()["first"] is None


def test_what_is_only_odd_does_not_fail_a_log(tmp_path: Path) -> None:
    rows = [
        event_json(at_ms=NOON_MS + 5, event_id="same"),
        event_json(at_ms=NOON_MS, event_id="same"),
        event_json(action="view", text="", at_ms=NOON_MS + 6),
        event_json(action="teleport"),
    ]
    report = validate_log(write_jsonl(tmp_path / "log", rows))
    assert report.passed
    assert (report.duplicates, report.out_of_order, report.without_text, report.without_id) == (1, 2, 1, 2)


def test_the_future_is_bounded(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", [event_json(at_ms=LATER_MS)])
    assert validate_log(path, now_ms=LATER_MS).passed
    assert validate_log(path, now_ms=NOON_MS).bad_reasons == {"timestamp_in_future": 1}


def test_a_log_that_cannot_be_read_is_an_error_and_no_report(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        validate_log(tmp_path / "missing")
