"""What becomes of a failed request: tried again and when, or this question's failure, or the run's end."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

from tenacity import RetryCallState, wait_random_exponential

from streams.errors import TrainingError
from training.think.language_model.endpoint import Endpoint, without_key

AGAIN: Final = frozenset({408, 409, 429})  # and every 5xx
REFUSED: Final = frozenset({400, 422})
WAIT_MAX_S: Final = 300.0
TOLD_CHARACTERS: Final = 200
_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=30)


class AskError(Exception):
    """This question gets no answer now; says why, for people."""


class TryAgainError(AskError):
    """It may be answered later. after_s: when the server said."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class RefusedError(AskError):
    """The server does not take the request as it is."""


def wait_s(state: RetryCallState) -> float:
    """Seconds before the next attempt: the server's, else between 0 and 0.5 s · 2^attempts, at most 30 s."""
    error = state.outcome.exception() if state.outcome else None
    told = error.after_s if isinstance(error, TryAgainError) else None
    return _BACKOFF(state) if told is None else told


def told(error: Exception, endpoint: Endpoint) -> AskError | TrainingError:
    """The client's error as one of ours, without the request (it holds the key) and without the key."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _status(error, endpoint)
    if isinstance(error, openai.APITimeoutError):
        return TryAgainError(f"no answer within {endpoint.timeout_s:g} s")
    if isinstance(error, openai.APIConnectionError):
        return TryAgainError("no connection, or one that broke")
    return TryAgainError("an answer that is none of the protocol")


def _status(error: Any, endpoint: Endpoint) -> AskError | TrainingError:
    status = error.status_code
    said = f"HTTP {status}{_words(error, endpoint)}"
    if status in (401, 403):
        return _stop(
            f"The endpoint refuses the key ({said}).", "Give the right one: --key-env or --key-file."
        )
    if status == 404:
        return _stop(f"The endpoint knows neither path nor model ({said}).", "Check --url and --model.")
    if 300 <= status < 400:
        return _stop(f"The endpoint sends us elsewhere ({said}).", "Give the address itself as --url.")
    if error.code == "insufficient_quota":
        return _stop(f"The account is used up ({said}).", "Run it again when it is not; answers are kept.")
    if status in REFUSED:
        return RefusedError(said)
    if status not in AGAIN and status < 500:
        return AskError(said)
    after_s = retry_after_s(error.response.headers, time.time())
    if after_s is not None and after_s > WAIT_MAX_S:
        return AskError(f"HTTP {status}, try again after {after_s:.0f} s")
    return TryAgainError(f"HTTP {status}", after_s)


def retry_after_s(headers: Any, now_s: float) -> float | None:
    """Seconds that a server asks to wait, by Retry-After-Ms or Retry-After (seconds or a date); None: not."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(float(headers[name]) * unit_s, 0.0)
        except (KeyError, ValueError):
            continue
    try:
        moment = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now_s, 0.0)


def _words(error: Any, endpoint: Endpoint) -> str:
    """What the server says, as one short plain line."""
    body = error.body if isinstance(error.body, dict) else {}
    text = without_key(str(body.get("message") or ""), endpoint.key)
    plain = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return f": {plain[:TOLD_CHARACTERS]}" if plain else ""


def _stop(message: str, action: str) -> TrainingError:
    return TrainingError(f"{message} Nothing more was asked; answers so far are kept.", action=action)
