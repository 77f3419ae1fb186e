"""Every metric of a worker, in one registry per worker. Names and meanings: docs/operations.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

FRESHNESS_BUCKETS_S = (
    *(0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3),
    *(0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0),
)
GENERATION_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """A worker's counters. Labels never hold a user, a query or an id."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.events = Counter("aigq_events", "Events read, by outcome", ["outcome"], registry=r)
        self.dead_letters = Counter("aigq_dead_letters", "Records set aside", ["reason"], registry=r)
        self.decisions = Counter(
            "aigq_refresh_decisions", "Decisions, one an event applied", ["reason", "refresh"], registry=r
        )
        self.settled = Counter(
            "aigq_refreshes_settled", "Refreshes made when their cooldown ended", ["reason"], registry=r
        )
        self.batch_size = Histogram(
            "aigq_generation_batch_lists", "Lists per generation", registry=r, buckets=BATCH_BUCKETS
        )
        self.generation_s = Histogram(
            "aigq_generation_seconds", "Seconds per generation", registry=r, buckets=GENERATION_BUCKETS_S
        )
        self.queue_requests = Gauge("aigq_queue_requests", "Requests that wait for generation", registry=r)
        self.queue_bytes = Gauge("aigq_queue_bytes", "Bytes taken and not acknowledged", registry=r)
        self.queue_age_s = Gauge("aigq_queue_age_seconds", "Of the oldest waiting request", registry=r)
        self.overloaded = Gauge("aigq_overloaded", "1: lists are late", registry=r)
        self.breaker_open = Gauge("aigq_breaker_open", "1: held to be down", ["border"], registry=r)
        self.bundle_loads = Counter("aigq_bundle_loads", "Bundles on hot swap", ["outcome"], registry=r)
        self.superseded = Counter("aigq_requests_superseded", "Requests overtaken by a newer", registry=r)
        self.reembedded = Counter(
            "aigq_requests_reembedded", "Requests made by another text encoder", registry=r
        )
        self.filtered = Counter("aigq_hints_filtered", "Hints dropped", ["reason"], registry=r)
        self.published = Counter("aigq_lists", "Lists by publish outcome", ["outcome"], registry=r)
        self.store_retries = Counter("aigq_store_retries", "Publishes tried again", ["error"], registry=r)
        self.freshness_s = Histogram(
            "aigq_freshness_seconds",
            "From a record's append time in Kafka to its list being readable in Redis",
            registry=r,
            buckets=FRESHNESS_BUCKETS_S,
        )
        self.outcomes = Counter("aigq_hint_outcomes", "Hint feedback", ["outcome", "joined"], registry=r)
        self.handovers = Counter(
            "aigq_handovers", "Hand-overs of anonymous histories", ["outcome"], registry=r
        )
        self.erasures = Counter("aigq_erasures", "Erasures of a person's lists", ["cause"], registry=r)
        self.receipts = Counter("aigq_erasure_receipts", "Receipts for deletions", registry=r)
        self.think_loads = Counter("aigq_think_loads", "Mapping loads", ["outcome"], registry=r)
        self.think_triggers = Gauge("aigq_think_triggers", "Triggers in the served mapping", registry=r)
        self.think_versions = Gauge("aigq_think_versions", "Mapping versions in Redis", registry=r)
        self.think_created_s = Gauge(
            "aigq_think_created_seconds", "Unix time of the day the served mapping was built", registry=r
        )
        self.users = Gauge("aigq_session_users", "Users with state in this worker", registry=r)
        self.state_bytes = Histogram(
            "aigq_session_state_bytes",
            "Size of a stored session state",
            registry=r,
            buckets=(256, 512, 1024, 1536, 2048, 4096),
        )
        self.owed = Gauge("aigq_refreshes_owed", "Refreshes waiting for their cooldown", registry=r)
        self.lag = Gauge("aigq_lag_records", "Records not yet read", ["topic", "partition"], registry=r)
        self.commit_age_s = Gauge(
            "aigq_commit_age_seconds", "Since the last commit while there is lag", ["app"], registry=r
        )
