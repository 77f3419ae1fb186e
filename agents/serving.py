"""From settings to what decides: the one way, for workers, replay and doctor alike."""

from __future__ import annotations

from agents.hints.bundle import Bundle, load_bundle
from agents.session.interest import InterestPolicy
from agents.session.refresh import RefreshPolicy
from agents.session.step import Rules, TextEncoder
from streams.settings import Settings
from streams.signed_manifests import trusted_keys


def interest_policy(settings: Settings) -> InterestPolicy:
    """The half-lives in ms."""
    return InterestPolicy(settings.visit_half_life_s * 1000, settings.shopper_half_life_s * 1000)


def open_bundle(settings: Settings) -> Bundle:
    """The bundle that the settings name. Raises BundleError."""
    return load_bundle(
        settings.bundle_dir,
        threads=settings.onnx_threads,
        provider=settings.onnx_provider,
        policy=interest_policy(settings),
        trusted=trusted_keys(settings),
    )


def rules_of(settings: Settings, encoder: TextEncoder, bundle: str) -> Rules:
    """The session rules that these settings and this bundle make."""
    return Rules(
        encoder=encoder,
        bundle=bundle,
        interest=interest_policy(settings),
        refresh=RefreshPolicy(
            drift_threshold=settings.drift_threshold,
            cooldown_ms=round(settings.cooldown_s * 1000),
            stale_after_ms=round(settings.stale_after_s * 1000),
            lists_per_day=settings.lists_per_day,
            bot_events_per_minute=settings.bot_events_per_minute,
        ),
        erased_kept_ms=round(settings.erased_kept_s * 1000),
    )
