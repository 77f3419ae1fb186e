"""What a worker is made of: an app and an agent for each role, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from redis.asyncio import Redis

from agents.bundle_watch import BundleWatch, Fingerprint, Served, fingerprint, open_served
from agents.deny.gate import DenyGate
from agents.deny.gated_writer import GatedHintWriter
from agents.erasure.agent import ErasureAgent, receipt_key
from agents.feedback.agent import FeedbackAgent
from agents.hints.agent import HintsAgent
from agents.hints.batches import Batches
from agents.hints.bundle import Bundle
from agents.hints.generation import Generation
from agents.hints.publishing import Publishing
from agents.hints.think_source import ThinkSource
from agents.redis_alive import RedisAlive
from agents.serving import open_bundle, rules_of
from agents.session.agent import SessionAgent
from agents.think.agent import ThinkAgent
from streams.app import NearlineApp, create_app
from streams.backoff import Breaker
from streams.hint_request import HintRequest
from streams.hint_store import AsyncHintReader
from streams.metrics import Metrics
from streams.redis_client import connect_redis
from streams.settings import Settings
from streams.topics import SESSION_APP


class Role(StrEnum):
    """What a worker does; by default all of it."""

    SESSION = "session"
    HINTS = "hints"
    THINK = "think"
    FEEDBACK = "feedback"
    ERASURE = "erasure"


ALL_ROLES: tuple[Role, ...] = tuple(Role)
WITH_BUNDLE = frozenset({Role.SESSION, Role.HINTS})
WITH_REDIS = frozenset({Role.HINTS, Role.THINK, Role.FEEDBACK, Role.ERASURE})


@dataclass(slots=True)
class Parts:
    """The agents of the chosen roles; None: not chosen."""

    settings: Settings
    metrics: Metrics
    redis: Redis
    apps: list[NearlineApp] = field(default_factory=list)
    session: SessionAgent | None = None
    hints: HintsAgent | None = None
    think: ThinkAgent | None = None
    feedback: FeedbackAgent | None = None
    erasure: ErasureAgent | None = None
    bundles: BundleWatch | None = None
    alive: RedisAlive | None = None

    @classmethod
    def of(cls, settings: Settings, roles: Sequence[Role], metrics: Metrics) -> Parts:
        """Build what the roles need. Raises SettingsError, BundleError."""
        seen = fingerprint(settings.bundle_dir)  # before the files: what changes meanwhile is another
        served = open_served(settings, generates=Role.HINTS in roles) if WITH_BUNDLE & {*roles} else None
        parts = cls(settings, metrics, connect_redis(settings))
        for role in roles:
            parts._add(role, served)
        if served is not None:
            parts.bundles = parts._bundle_watch(served, seen)
        if WITH_REDIS & {*roles}:
            writes = bool({Role.HINTS, Role.THINK} & {*roles})
            parts.alive = RedisAlive(parts.redis, settings.worker_name, writes)
        return parts

    @property
    def breakers(self) -> dict[str, Breaker]:
        """Border → its circuit."""
        found: dict[str, Breaker] = {}
        if self.hints is not None:
            found |= {"publish": self.hints.publishing.breaker, "model": self.hints.batches.breaker}
        if self.feedback is not None:
            found["feedback"] = self.feedback.breaker
        if self.think is not None:
            found["mapping"] = self.think.breaker
        return found

    @property
    def waits_for(self) -> dict[str, str]:
        """Part → why its agent waits and commits nothing meanwhile; empty: none does."""
        agents = (self.hints, self.feedback)
        found = {"redis": next((one.store_error for one in agents if one and one.store_error), "")}
        if self.hints is not None:
            found["model"] = self.hints.batches.problem
        if self.erasure is not None:
            found["erasure"] = self.erasure.problem
        return {part: why for part, why in found.items() if why}

    def _add(self, role: Role, served: Served | None) -> None:
        if role is Role.THINK:
            self.think = ThinkAgent(self.settings, self.redis, self.metrics)
            return
        app = create_app(SESSION_APP if role is Role.SESSION else f"aigq-{role}", self.settings)
        self.apps.append(app)
        settings, metrics = self.settings, self.metrics
        if role is Role.SESSION and served is not None:
            rules = rules_of(settings, served.encoder, served.name)
            self.session = SessionAgent(app, settings, rules, metrics)
            self.session.attach()
        elif role is Role.HINTS and served is not None and served.whole is not None:
            self.hints = self._hints_agent(app, served.whole)
            self.hints.attach()
        elif role is Role.FEEDBACK:
            self.feedback = FeedbackAgent(app, settings, AsyncHintReader(self.redis), metrics)
            self.feedback.attach()
        elif role is Role.ERASURE:
            self.erasure = ErasureAgent(app, settings, metrics, receipt_key(settings))
            self.erasure.attach()

    def _hints_agent(self, app: NearlineApp, bundle: Bundle) -> HintsAgent:
        settings, metrics, gate = self.settings, self.metrics, DenyGate(self.redis)
        generation = Generation(
            bundle,
            metrics,
            ThinkSource(self.redis),
            gate=gate,
            open_again=partial(open_bundle, settings),
            within_s=settings.generation_timeout_s,
        )
        writer = GatedHintWriter(
            self.redis, gate, metrics, runs_kept=settings.runs_kept, ttl_s=settings.hints_ttl_s
        )
        return HintsAgent(app, settings, Batches(generation), Publishing(writer, metrics), metrics)

    def _bundle_watch(self, served: Served, seen: Fingerprint) -> BundleWatch:
        return BundleWatch(
            self.settings,
            self.metrics,
            generates=served.whole is not None,
            swap=self._swap,
            proof=self._known_good,
            running=served.name,
            settled=seen,
        )

    def _swap(self, served: Served) -> None:
        """Between two events, and between two batches: both run on this loop."""
        if self.session is not None:
            self.session.rules = rules_of(self.settings, served.encoder, served.name)
        if self.hints is not None and served.whole is not None:
            self.hints.batches.generation.swap(served.whole)

    def _known_good(self) -> HintRequest | None:
        return self.hints.batches.known_good if self.hints is not None else None
