"""A Faust app with a table on the embedded broker: killed in mid-stream, its table is exact afterwards.

It is stock Faust, but for the order of its recovery (streams/recovery.py): without it, events may be lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from streams.embedded.servers import EmbeddedKafka
from tests.integration.embedded.kafka_clients import KafkaPython, Row

pytestmark = pytest.mark.embedded_only

EVENTS, USERS, PARTITIONS = 2000, 20, 2
APP = """
import json, os, sys
import faust
from streams.recovery import OrderlyTables

broker, datadir, report_path = sys.argv[1:]

app = faust.App("counting", broker=broker, store="memory://", datadir=datadir, topic_partitions=2,
    topic_replication_factor=1, broker_session_timeout=6, broker_heartbeat_interval=1,
    broker_commit_interval=0.3, producer_linger=0.02, consumer_auto_offset_reset="earliest",
    stream_wait_empty=False, web_enabled=False, TableManager=OrderlyTables)
events = app.topic("events", partitions=2, key_type=bytes, value_type=bytes, key_serializer="raw",
    value_serializer="raw")
counts = app.Table("counts", default=dict, partitions=2, key_type=bytes)

@app.agent(events)
async def count(stream):
    async for event in stream.events():
        seen = counts[event.key]
        if event.message.offset > seen.get("offset", -1):
            counts[event.key] = {"offset": event.message.offset, "count": seen.get("count", 0) + 1}

@app.timer(0.3)
async def report():
    totals = {key.decode(): row["count"] for key, row in counts.items()}
    with open(report_path + ".new", "w") as file:
        json.dump(totals, file)
    os.replace(report_path + ".new", report_path)

app.finalize()
sys.argv = ["faust", "worker", "-l", "error", "--without-web"]
app.main()
"""


class Worker:
    """One run of the app; it writes the counts in its table to a file, three times a second."""

    def __init__(self, kafka: EmbeddedKafka, folder: Path) -> None:
        self._report, self._log = folder / "report.json", folder / "faust.log"
        self._report.unlink(missing_ok=True)
        command = [sys.executable, "-W", "ignore", "-c", APP, kafka.url, str(folder), str(self._report)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_for(self, total: int) -> dict[str, int]:
        deadline_s, totals = time.monotonic() + 40, {}
        while sum(totals.values()) < total:
            assert time.monotonic() < deadline_s, (totals, self._log.read_text()[-2000:])
            time.sleep(0.1)
            if self._report.exists():
                totals = json.loads(self._report.read_text())
        return totals

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def test_a_fausts_table_is_exact_after_its_worker_was_killed(tmp_path: Path) -> None:
    sent = [
        Row(b"user%d" % (number % USERS), b"event", partition=number % USERS % PARTITIONS)
        for number in range(EVENTS)
    ]
    expected = Counter((row.key or b"").decode() for row in sent)
    with EmbeddedKafka(tmp_path / "kafka", partitions=PARTITIONS) as kafka:
        client = KafkaPython(kafka.bootstrap)
        client.send("events", sent[: EVENTS // 2])
        first = Worker(kafka, tmp_path)
        try:
            first.wait_for(EVENTS // 4)
        finally:
            first.kill()
        client.send("events", sent[EVENTS // 2 :])
        second = Worker(kafka, tmp_path)
        try:
            assert second.wait_for(EVENTS) == expected
        finally:
            second.kill()
