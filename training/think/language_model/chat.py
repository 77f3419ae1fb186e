"""Asking an OpenAI-compatible chat endpoint, with the client `openai` and a key that goes no further.

A request is tried again after 408, 409, 429 and 5xx, a time-out, a broken connection or an answer that is
none (training.think.language_model.retry). A server that does not know a response format is asked in a
plainer one, and in that one from then on. Redirects are not followed: histories go to the address given and
to no other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_after_attempt

from training.think.language_model.answer_schema import response_formats
from training.think.language_model.cache import Completion
from training.think.language_model.endpoint import Endpoint, without_key
from training.think.language_model.prompt import BYTES_A_TOKEN, Message, estimated_tokens
from training.think.language_model.retry import AskError, RefusedError, TryAgainError, told, wait_s
from training.think.language_model.spending import Spending

if TYPE_CHECKING:
    from openai import OpenAI


def open_client(endpoint: Endpoint) -> OpenAI:
    """The client, without retries of its own: ours count. Raises ImportError when it is not installed.

    Nothing but the given key is sent, whatever the environment holds for OpenAI's own service.
    """
    from openai import DefaultHttpxClient, OpenAI

    client = OpenAI(
        base_url=endpoint.url,
        api_key=endpoint.key.get_secret_value() or "none",
        max_retries=0,
        timeout=endpoint.timeout_s,
        http_client=DefaultHttpxClient(follow_redirects=False),
    )
    client.organization = client.project = None
    return client


class ChatEndpoint:
    """For several threads. `stopped` ends waits and further attempts."""

    def __init__(self, endpoint: Endpoint, spending: Spending, stopped: Event) -> None:
        self.endpoint = endpoint
        self.spending = spending
        self._stopped = stopped
        self._client = open_client(endpoint)
        self._plainer = 0  # how many response formats the server refused
        self._retrying = Retrying(
            stop=stop_after_attempt(endpoint.attempts),
            wait=wait_s,
            retry=retry_if_exception_type(TryAgainError),
            sleep=sleep_using_event(stopped),
            reraise=True,
        )

    def ask(self, asked: Sequence[Message]) -> Completion:
        """The answer, whatever it says.

        Raises AskError when there is none, LimitReachedError, and TrainingError when no question can be
        answered.
        """
        first: RefusedError | None = None
        for place, response_format in enumerate(response_formats()):
            if place < self._plainer:
                continue
            try:
                answer = self._retrying.copy()(self._once, asked, response_format)
            except RefusedError as refused:
                first = first or refused
                continue
            self._plainer = max(self._plainer, place)
            return answer
        raise first or AskError("no response format is left")

    def close(self) -> None:
        """End connections."""
        self._client.close()

    def _once(self, asked: Sequence[Message], response_format: dict[str, Any]) -> Completion:
        if self._stopped.is_set():
            raise AskError("the run was stopped")
        aside, spent = (estimated_tokens(asked), self.endpoint.longest_answer), (0, 0)
        self.spending.begin(*aside)
        try:
            answer = self._answer(asked, response_format)
            spent = answer.prompt_tokens, answer.answer_tokens
        finally:
            self.spending.end(aside, spent)
        if not answer.finish:
            raise TryAgainError("an answer without an end")
        return answer

    def _answer(self, asked: Sequence[Message], response_format: dict[str, Any]) -> Completion:
        from openai import APIError

        try:
            text, finish, usage = self._read(asked, response_format)
        except (APIError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise told(error, self.endpoint) from None
        return Completion(
            text=without_key(text, self.endpoint.key),
            finish=finish,
            prompt_tokens=_count(usage, "prompt_tokens", estimated_tokens(asked)),
            answer_tokens=_count(
                usage, "completion_tokens", len(text.encode(errors="replace")) // BYTES_A_TOKEN
            ),
        )

    def _read(self, asked: Sequence[Message], response_format: dict[str, Any]) -> tuple[str, str, Any]:
        """(text, finish_reason, usage); finish_reason is empty when the answer has no end."""
        create: Any = self._client.chat.completions.create
        body = {"messages": list(asked), "response_format": response_format}
        # As a body of its own, since a server's further fields are none of the client's.
        extra = {**self.endpoint.settings, **body}
        required = {"model": self.endpoint.model, "messages": body["messages"]}
        if self.endpoint.stream:
            extra["stream_options"] = {"include_usage": True}
            return self._joined(create(**required, stream=True, extra_body=extra))
        found = create(**required, extra_body=extra)
        choice = found.choices[0]
        return str(choice.message.content or ""), str(choice.finish_reason or ""), found.usage

    def _joined(self, chunks: Any) -> tuple[str, str, Any]:
        parts: list[str] = []
        finish, usage = "", None
        with chunks:
            for chunk in self._in_time(chunks):
                usage = chunk.usage or usage
                for choice in chunk.choices[:1]:
                    parts.append(str((choice.delta and choice.delta.content) or ""))
                    finish = str(choice.finish_reason or finish)
        return "".join(parts), finish, usage

    def _in_time(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """A server may send a little now and then for ever."""
        end_s = time.monotonic() + self.endpoint.timeout_s
        for chunk in chunks:
            if time.monotonic() > end_s:
                raise TryAgainError(f"no whole answer within {self.endpoint.timeout_s:g} s")
            yield chunk


def _count(usage: Any, name: str, otherwise: int) -> int:
    found = getattr(usage, name, None)
    return found if isinstance(found, int) and found >= 0 else otherwise
