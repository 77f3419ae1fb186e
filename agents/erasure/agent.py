"""The erasure agent: carries deletions, done in state and lists, into the other stores; then the receipt.

Deletions that come together are carried out together, since each costs a pass over the dead letters and
outcomes. One is acknowledged when its receipt stands in Kafka; until then it is tried again, whatever fails.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from faust import StreamT
from faust.types import TP

from agents.erasure.erase import erase_people
from agents.erasure.receipt import Receipt, sign
from agents.hints.queue import Erasure
from streams.acks import InOrderAcks
from streams.app import RAW, NearlineApp
from streams.backoff import BackOff, Breaker
from streams.dead_letters import set_aside
from streams.erase_request import decode_erase
from streams.metrics import Metrics
from streams.received import Received
from streams.settings import Settings
from streams.signatures import SigningKey, create_signing_key, load_signing_key
from streams.topics import Topics
from streams.unexpected import without_values

log = structlog.get_logger("erasure")
GATHER_S: Final = 0.5
BACK_OFF: Final = BackOff(first_s=0.5, longest_s=30.0)
AT_ONCE: Final = 1000
KEY_NAME: Final = "receipt-signing-key"


@dataclass(slots=True)
class ErasureAgent:
    """The binding; the work itself is `erase_people`."""

    app: NearlineApp
    settings: Settings
    metrics: Metrics
    key: SigningKey
    breaker: Breaker = field(default_factory=partial(Breaker, BACK_OFF))
    acks: InOrderAcks = field(default_factory=InOrderAcks)
    receipts: Any = None
    dead_letters: Any = None
    _waiting: list[Erasure] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def problem(self) -> str:
        """Why deletions wait; empty: they do not."""
        return self.breaker.problem

    def attach(self) -> None:
        """Declare topics, agent and the erasing task on the app."""
        topics, partitions = Topics.of(self.settings), self.settings.partitions
        erasures = self.app.topic(topics.erasures, partitions=partitions, **RAW)
        self.receipts = self.app.topic(topics.receipts, partitions=partitions, **RAW)
        self.dead_letters = self.app.topic(topics.dead_letters, partitions=partitions, **RAW)
        self.app.agent(erasures, name="erasure")(self._erasures)
        self.app.task(self._erase_forever)
        revoked: Any = self.app.on_partitions_revoked
        revoked.connect(self._revoked)

    async def _erasures(self, stream: StreamT[bytes]) -> None:
        events: Any = stream  # Faust's type for streams lacks noack()
        async for event in events.noack().events():
            message = event.message
            ticket = self.acks.begin((message.topic, message.partition), message.offset, event.ack)
            try:
                self._waiting.append(Erasure(decode_erase(event.value), ticket))
                self._arrived.set()
            except Exception as error:
                await set_aside(self.dead_letters, Received.of_event(event), error, self.metrics)
                self.acks.finish(ticket)

    async def _erase_forever(self) -> None:
        while not self.app.should_stop:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(GATHER_S)
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            for receipt in await self._until_done(batch):
                signed = sign(receipt, self.key)
                key = f"{signed.subject}:{signed.version}".encode()
                await self.receipts.send(key=key, value=signed.model_dump_json().encode())
                self.metrics.receipts.inc()
            for one in batch:
                self.acks.finish(one.ticket)

    async def _until_done(self, batch: list[Erasure]) -> list[Receipt]:
        """No deletion is given up: whatever is wrong, it is said and tried again."""
        while True:
            try:
                done = await asyncio.to_thread(erase_people, self.settings, [one.request for one in batch])
            except Exception as error:
                problem = without_values(error)
                wait_s = self.breaker.failed(f"{len(batch)} deletions wait: {problem}", time.monotonic())
                log.error("not_erased", people=len(batch), error=problem, retry_in_s=round(wait_s, 1))
                await asyncio.sleep(wait_s)
                self.breaker.begin_trial()
            else:
                self.breaker.worked()
                return done

    async def _revoked(self, _app: Any, *args: Any, **_: Any) -> None:
        revoked: set[TP] = args[0]
        partitions = {(tp.topic, tp.partition) for tp in revoked}
        self.acks.revoke(partitions)
        self._waiting = [one for one in self._waiting if one.ticket.partition not in partitions]


def receipt_key(settings: Settings) -> SigningKey:
    """The key that the settings name, else this worker's own, made once. Raises SettingsError."""
    if settings.signing_key_file is not None:
        return load_signing_key(settings.signing_key_file)
    path = settings.data_dir / KEY_NAME
    return load_signing_key(path) if path.exists() else create_signing_key(path)
