from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.embedded.servers import EmbeddedKafka
from streams.errors import BrokerError, DatasetError, ReplayError
from streams.log_delivery import ReplayProgress
from streams.log_producer import parse_time, replay_log
from streams.replay_order import partition_of
from streams.settings import Settings, load_settings
from tests.logs import FOREIGN, shop_events, topic_records, write_jsonl
from tests.support import NOON_MS

PROGRAM = """
import sys
from pathlib import Path
from streams.log_producer import replay_log
from streams.settings import load_settings
log, url, prefix, resume = sys.argv[1:]
print(replay_log(Path(log), load_settings({}, kafka_url=url, topic_prefix=prefix), speed=20,
                 resume_file=Path(resume)).as_dict())
"""


# kafka-python 3.0 leaves the sockets of failed connection attempts to the garbage collector.
LEFT_SOCKETS = "ignore:unclosed <socket:ResourceWarning"


@pytest.fixture
def collected_sockets() -> Iterator[None]:
    """Those sockets go here, and not during somebody else's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def settings(kafka_url: str) -> Settings:
    return load_settings({}, kafka_url=kafka_url, topic_prefix=f"{uuid.uuid4().hex[:8]}.")


def ids(records: list[Any]) -> Counter[str]:
    return Counter(orjson.loads(record.value)["event_id"] for record in records)


def times(records: list[Any], partition: int) -> list[int]:
    return [orjson.loads(r.value)["timestamp"] for r in records if r.partition == partition]


def test_every_event_arrives_once_in_time_order_in_its_persons_partition(
    settings: Settings, tmp_path: Path
) -> None:
    rows = shop_events(400, users=23)
    rows[100:200] = reversed(rows[100:200])
    summary = replay_log(write_jsonl(tmp_path / "log", rows), settings)
    records = topic_records(settings)
    assert (summary.sent, summary.bad, summary.reordered) == (400, 0, True)
    assert ids(records) == {row["event_id"]: 1 for row in rows}
    for record in records:
        assert record.key.decode() == orjson.loads(record.value)["user_id"]
        assert record.partition == partition_of(record.key, settings.partitions)
    for partition in range(settings.partitions):
        assert times(records, partition) == sorted(times(records, partition))


def test_a_foreign_log_is_sent_whole_its_bad_records_as_they_are(settings: Settings) -> None:
    summary = replay_log(FOREIGN, settings)
    sent = Counter(record.value for record in topic_records(settings))
    assert (summary.sent, summary.bad) == (59, 6)
    assert sent == Counter(line.strip() for line in FOREIGN.read_bytes().splitlines() if line.strip())


def test_an_event_without_an_id_carries_one_in_its_header(settings: Settings, tmp_path: Path) -> None:
    rows = shop_events(4)
    for row in rows[:2]:
        del row["event_id"]
    path = write_jsonl(tmp_path / "log", rows)
    replay_log(path, settings)
    replay_log(path, settings)
    headers = [dict(record.headers).get("ce_id") for record in topic_records(settings)]
    assert sorted(Counter(headers).values()) == [2, 2, 4]
    assert headers.count(None) == 4


def test_only_the_asked_range_is_sent(settings: Settings, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", shop_events(10))
    start_ms, end_ms = parse_time("2017-12-01T12:00:03Z"), parse_time("2017-12-01T13:00:05+01:00")
    summary = replay_log(path, settings, start_ms=start_ms, end_ms=end_ms)
    assert (summary.sent, summary.skipped) == (2, 8)
    assert sorted(ids(topic_records(settings))) == ["e00003", "e00004"]


def test_a_replay_at_n_times_event_time_keeps_the_gaps(settings: Settings, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "log", shop_events(5, users=1, gap_ms=5000))
    summary = replay_log(path, settings, speed=20)
    appended = [record.timestamp for record in topic_records(settings)]
    assert summary.seconds >= 1  # 20 s of event time
    assert appended[-1] - appended[1] >= 300  # of 750 ms: spread out, and not all at the end


def test_a_finished_replay_sends_nothing_again(settings: Settings, tmp_path: Path) -> None:
    path, file = write_jsonl(tmp_path / "log", shop_events(50)), tmp_path / "progress.json"
    replay_log(path, settings, resume_file=file)
    again = replay_log(path, settings, resume_file=file)
    assert (again.sent, again.already_sent) == (0, 50)
    assert len(topic_records(settings)) == 50


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_replay_stopped_in_the_middle_goes_on_with_nothing_lost_or_doubled(
    settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    rows = shop_events(600, users=5, gap_ms=100)  # 3 s at 20 times event time
    rows[3] = {**rows[2]}  # the same line twice: still two records
    path, file = write_jsonl(tmp_path / "log", rows), tmp_path / "progress.json"
    arguments = [str(path), settings.kafka_url, settings.topic_prefix, str(file)]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.DEVNULL) as child:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and child.poll() is None:
            if file.exists() and orjson.loads(file.read_bytes())["confirmed"] >= 100:
                break
            time.sleep(0.02)
        child.send_signal(number)
        assert child.wait(30) != 0
    sent_before = len(topic_records(settings))
    assert 100 <= sent_before < len(rows)
    summary = replay_log(path, settings, resume_file=file)
    records = topic_records(settings)
    assert ids(records) == Counter(row["event_id"] for row in rows)
    assert summary.already_sent == sent_before
    for partition in range(settings.partitions):
        assert times(records, partition) == sorted(times(records, partition))


def test_a_stale_progress_file_is_made_good_from_what_stands_in_kafka(
    settings: Settings, tmp_path: Path
) -> None:
    path, file = write_jsonl(tmp_path / "log", shop_events(60)), tmp_path / "progress.json"
    replay_log(path, settings, end_ms=NOON_MS, resume_file=file)  # nothing yet: the file of the beginning
    beginning = orjson.loads(file.read_bytes())
    beginning["target"]["end_ms"] = None
    replay_log(path, settings, end_ms=NOON_MS + 20_000)
    file.write_bytes(orjson.dumps(beginning))
    summary = replay_log(path, settings, resume_file=file)
    assert (summary.sent, summary.already_sent) == (40, 20)
    assert set(ids(topic_records(settings)).values()) == {1}


def test_a_progress_file_of_another_replay_is_refused(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    replay_log(write_jsonl(tmp_path / "one", shop_events(5)), settings, resume_file=file)
    other = write_jsonl(tmp_path / "two", shop_events(6))
    with pytest.raises(ReplayError, match="log_bytes was"):
        replay_log(other, settings, resume_file=file)
    file.write_text("{}")
    with pytest.raises(ReplayError, match="not the progress file"):
        replay_log(other, settings, resume_file=file)
    assert len(topic_records(settings)) == 5


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(settings: Settings, tmp_path: Path, speed: float) -> None:
    with pytest.raises(ReplayError, match="speed"):
        replay_log(write_jsonl(tmp_path / "log", shop_events(1)), settings, speed=speed)


def test_a_torn_log_is_refused_before_anything_is_sent(settings: Settings, tmp_path: Path) -> None:
    from zstandard import compress

    path = write_jsonl(tmp_path / "log", shop_events(2000))
    path.write_bytes(compress(path.read_bytes())[:-50])
    with pytest.raises(DatasetError, match="torn"):
        replay_log(path, settings)
    assert topic_records(settings) == []


@pytest.mark.parametrize("text", ["yesterday", "2017-12-01T12:00:00", ""])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ReplayError, match="no time with a zone"):
        parse_time(text)


@pytest.mark.embedded_only
@pytest.mark.filterwarnings(LEFT_SOCKETS)
@pytest.mark.usefixtures("collected_sockets")
def test_a_broker_that_is_away_for_seconds_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    rows = shop_events(200, gap_ms=100)  # 2 s at 10 times event time
    path = write_jsonl(tmp_path / "log", rows)
    told: list[ReplayProgress] = []
    with EmbeddedKafka(tmp_path / "kafka") as kafka:
        settings = load_settings({}, kafka_url=kafka.url)
        killer = threading.Thread(target=_kill_and_restart, args=(kafka, told))
        killer.start()
        summary = replay_log(path, settings, speed=10, progress=told.append, patience_s=30)
        killer.join()
        assert summary.sent == 200
        assert ids(topic_records(settings)) == {row["event_id"]: 1 for row in rows}
    assert max(progress.waiting_s for progress in told) >= 2
    assert told[-1].done == 200


def _kill_and_restart(kafka: EmbeddedKafka, told: list[ReplayProgress]) -> None:
    while not told or told[-1].done < 20:
        time.sleep(0.02)
    kafka.kill()
    time.sleep(3.5)
    kafka.restart()


@pytest.mark.embedded_only
@pytest.mark.filterwarnings(LEFT_SOCKETS)
@pytest.mark.usefixtures("collected_sockets")
def test_a_broker_that_stays_away_ends_the_replay_which_can_go_on_later(tmp_path: Path) -> None:
    rows = shop_events(200, gap_ms=100)
    path, file = write_jsonl(tmp_path / "log", rows), tmp_path / "progress.json"

    def kill_once(progress: ReplayProgress) -> None:
        if progress.done >= 20 and kafka.is_running:
            kafka.kill()

    with EmbeddedKafka(tmp_path / "kafka") as kafka:
        settings = load_settings({}, kafka_url=kafka.url)
        with pytest.raises(BrokerError, match="of 200 records are confirmed"):
            replay_log(path, settings, speed=10, resume_file=file, progress=kill_once, patience_s=4)
        assert orjson.loads(file.read_bytes())["confirmed"] >= 20
        assert [thread.name for thread in threading.enumerate() if "replay" in thread.name] == []
        kafka.restart()
        replay_log(path, settings, resume_file=file)
        assert ids(topic_records(settings)) == {row["event_id"]: 1 for row in rows}
