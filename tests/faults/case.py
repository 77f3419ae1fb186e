"""One case: a shop on servers that may be broken, a known stream fed to it, and the books at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
from tests.faults.feed import Feed
from tests.faults.known_stream import Known
from tests.faults.ledger import Account, Ledger
from tests.faults.watch import VersionWatch
from tests.shop import Shop, wait_until


@dataclass
class Case:
    """`name` and `round` tell runs apart; `round` is also the seed of what a case does at random."""

    kafka: EmbeddedKafka
    redis: EmbeddedRedis
    folder: Path
    name: str
    round: int
    options: dict[str, str] = field(default_factory=dict)
    seen: VersionWatch | None = None
    began_s: float = field(default_factory=time.monotonic)

    @cached_property
    def shop(self) -> Shop:
        """Opened when first asked for, with the options given until then."""
        return Shop(self.kafka.url, self.redis.url, self.folder, options=self.options)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.shop)

    @cached_property
    def chance(self) -> random.Random:
        return random.Random(self.round)

    def feed(self, records: Sequence[Known], rate: float | None = None) -> Feed:
        """Begin to send the records, and to watch the newest lists of their users."""
        self.sent = Feed(self.shop, records, rate).start()
        self.seen = VersionWatch(self.redis.url, sorted({record.key.decode() for record in records}))
        self.seen.start()
        return self.sent

    def wait_until_sent(self, share: float, within_s: float = 120.0) -> None:
        """Wait until this share of the stream is on its way."""
        wait_until(lambda: self.sent.share >= share, f"{share:.0%} of the stream", within_s)

    def balance(self, within_s: float = 150.0) -> Account:
        """Wait until everything is worked off, balance the books, and print the figures."""
        taken = self.sent.finish()
        wait_until(self._is_owned, "all partitions to have a living owner", within_s)
        self.shop.wait_until_quiet(within_s)
        account = self.ledger.account(taken)
        if self.seen is not None:
            self.seen.stop()
        self.tell(str(account))
        return account

    def _is_owned(self) -> bool:
        """What a dead worker had is nobody's until its session is over: no metric tells of its lag."""
        events = self.shop.topics.events
        owned = [
            labels
            for name, labels in self.shop.metrics()
            if name == "aigq_lag_records" and dict(labels)["topic"] == events
        ]
        return len(owned) == self.shop.settings.partitions

    def tell(self, figures: str) -> None:
        """A line of figures, on the screen with `make faults`."""
        print(f"\n{self.name}: {figures}, {time.monotonic() - self.began_s:.0f} s")

    def close(self) -> None:
        if self.seen is not None:
            self.seen.end()
        if "shop" in self.__dict__:
            self.shop.close()
