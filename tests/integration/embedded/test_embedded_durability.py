"""What the broker has acknowledged is still there after it was killed, and two brokers never share a
folder.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import kafka
import pytest
from kafka.admin import NewTopic

from streams.embedded.servers import EmbeddedKafka
from streams.errors import EmbeddedServerError
from tests.integration.embedded.kafka_clients import KafkaPython, Row

pytestmark = pytest.mark.embedded_only


def test_every_acknowledged_record_is_there_after_a_kill_in_full_flight(own_kafka: EmbeddedKafka) -> None:
    acknowledged: list[int] = []
    producer = kafka.KafkaProducer(bootstrap_servers=own_kafka.bootstrap, acks="all", linger_ms=5)

    def note(number: int) -> Any:
        return lambda _: acknowledged.append(number)

    def send() -> None:
        for number in range(20_000):
            producer.send("flight", b"%d" % number, partition=0).add_callback(note(number))

    producer.partitions_for("flight")
    sender = threading.Thread(target=send)
    sender.start()
    while len(acknowledged) < 5_000:
        time.sleep(0.005)
    own_kafka.kill()
    before_restart = set(acknowledged)
    own_kafka.restart()
    sender.join()
    producer.flush()
    producer.close()
    read = [int(row.value or b"-1") for row in KafkaPython(own_kafka.bootstrap).read("flight")]
    assert before_restart <= set(read)
    assert sorted(read) == list(range(20_000))


def test_topics_configs_offsets_and_log_starts_survive_a_kill(own_kafka: EmbeddedKafka) -> None:
    client = KafkaPython(own_kafka.bootstrap)
    admin = kafka.KafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
    place = kafka.TopicPartition("kept", 1)
    admin.create_topics(
        [NewTopic("kept", 2, 1, topic_configs={"retention.ms": "-1"}), NewTopic("gone", 1, 1)]
    )
    client.send("kept", [Row(b"k", b"%d" % i, partition=1) for i in range(10)])
    admin.delete_records({place: 3})
    admin.alter_group_offsets("group", {place: kafka.OffsetAndMetadata(6, "note", -1)})
    admin.delete_topics(["gone"])
    admin.close()
    own_kafka.kill()
    own_kafka.restart()
    admin = kafka.KafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
    assert admin.list_topics() == ["kept"]
    assert "'retention.ms'" in str(admin.describe_configs([kafka.admin.ConfigResource("TOPIC", "kept")]))
    committed = admin.list_group_offsets("group")["group"][place]
    assert (committed.offset, committed.metadata) == (6, "note")
    admin.close()
    assert [row.offset for row in client.read("kept", 2)] == list(range(3, 10))


def test_an_idempotent_producer_goes_on_after_a_kill_without_loss_or_duplicates(
    own_kafka: EmbeddedKafka,
) -> None:
    producer = kafka.KafkaProducer(bootstrap_servers=own_kafka.bootstrap, enable_idempotence=True)
    for number in range(100):
        producer.send("topic", b"%d" % number, partition=0)
    producer.flush()
    own_kafka.kill()
    for number in range(100, 200):
        producer.send("topic", b"%d" % number, partition=0)
    own_kafka.restart()
    producer.flush()
    producer.close()
    read = [row.value for row in KafkaPython(own_kafka.bootstrap).read("topic")]
    assert read == [b"%d" % number for number in range(200)]


def test_a_torn_batch_at_the_end_is_cut_off(own_kafka: EmbeddedKafka) -> None:
    client = KafkaPython(own_kafka.bootstrap)
    client.send("topic", [Row(b"k", b"whole")])
    own_kafka.kill()
    (file,) = (own_kafka.data_dir / "topics" / "topic-0").glob("*.log")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) - 3])
    own_kafka.restart()
    assert file.read_bytes() == whole
    assert client.send("topic", [Row(b"k", b"next")]) == [1]
    assert [row.value for row in client.read("topic")] == [b"whole", b"next"]


def test_a_second_broker_on_the_same_folder_is_refused(own_kafka: EmbeddedKafka) -> None:
    with pytest.raises(EmbeddedServerError, match=f"belongs to a running server, process {own_kafka.pid}"):
        EmbeddedKafka(own_kafka.data_dir, log_path=own_kafka.data_dir / "second.log").start()
    assert own_kafka.is_running


def test_the_command_stops_quietly_on_a_signal_with_clients_connected(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streams.embedded.broker", "--data", str(tmp_path / "kafka")]
    for number in (signal.SIGTERM, signal.SIGINT):
        broker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert broker.stdout is not None
        ready = json.loads(broker.stdout.readline())
        consumer = kafka.KafkaConsumer("topic", bootstrap_servers=f"127.0.0.1:{ready['port']}", group_id="g")
        consumer.poll(timeout_ms=500)
        broker.send_signal(number)
        output, complaints = broker.communicate(timeout=20)
        consumer.close()
        assert (broker.returncode, output, complaints) == (0, b"", b"")


def test_the_command_explains_itself_and_a_port_in_use(own_kafka: EmbeddedKafka, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streams.embedded.broker"]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "Example:" in told
    second = [*command, "--data", str(tmp_path / "second"), "--port", str(own_kafka.port)]
    refused = subprocess.run(second, capture_output=True, text=True, check=False)
    assert refused.returncode == 5
    assert f"Port {own_kafka.port}" in refused.stderr
    assert "Traceback" not in refused.stderr
