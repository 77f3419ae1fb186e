"""A chat endpoint for tests: HTTP on 127.0.0.1, the OpenAI protocol, plain and streamed, as bad as is asked.

It is no language model: what it answers is a rule of a few lines, or what the test hands it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from training.think.points import History, HistoryLine

# What the well-behaved answers: by the kind of goods a line is of.
GOES_WITH = {"mexican": ["salsa", "sour cream"], "bakery": ["butter", "jam"], "other": ["paper towels"]}
HANG_S = 30.0


@dataclass(frozen=True)
class Asked:
    """One request. number: from 0, in the order they came."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The history's lines as a model reads them: the JSON between the two markers."""
        text = self.body["messages"][1]["content"]
        marker = text.split("\n", 1)[0]
        return [json.loads(line) for line in text.split(marker)[1].strip().split("\n") if line]


@dataclass(frozen=True)
class Reply:
    """What is sent back. content: the model's text; raw: the whole body instead. cut: a stream ends after
    so many parts. hang: nothing is sent before the server closes."""

    content: str = ""
    finish: str = "stop"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    raw: bytes | None = None
    cut: int | None = None
    hang: bool = False
    usage: dict[str, int] | None = field(
        default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 20}
    )


Behaviour = Callable[[Asked], Reply]


def points(*found: tuple[list[int], list[str]], facts: list[dict[str, Any]] | None = None) -> str:
    """The JSON of an answer."""
    return json.dumps({"points": [{"triggers": t, "queries": q, "facts": facts or []} for t, q in found]})


def well_behaved(asked: Asked) -> Reply:
    """One point for each category, whatever the texts say."""
    kinds: dict[str, list[int]] = {}
    for line in asked.lines:
        kinds.setdefault(line.get("category", "other"), []).append(line["line"])
    return Reply(points(*((lines, GOES_WITH[kind]) for kind, lines in sorted(kinds.items()))))


def history(name: str, *texts: str, category: str = "mexican") -> History:
    """Bought on the days before, newest first; one category, or "text::category"."""
    parts = [text.partition("::") for text in texts]
    lines = tuple(
        HistoryLine(index=place, days_ago=place, action="purchase", text=text, category=own or category)
        for place, (text, _, own) in enumerate(parts, 1)
    )
    return History(name=name, as_of_ms=1_700_000_000_000, lines=lines)


class ChatServer:
    """`behaviour` may be changed at any time. requests: all that came."""

    def __init__(self, behaviour: Behaviour = well_behaved) -> None:
        self.behaviour = behaviour
        self.requests: list[Asked] = []
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """As --url takes it."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, body: dict[str, Any], headers: dict[str, str]) -> Asked:
        with self._lock:
            asked = Asked(len(self.requests), body, headers)
            self.requests.append(asked)
        return asked

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked = server._take(body, {k.lower(): v for k, v in self.headers.items()})
                reply = server.behaviour(asked)
                if reply.hang:
                    server.released.wait(HANG_S)
                    self.close_connection = True
                elif body.get("stream") and reply.status == 200 and reply.raw is None:
                    self._stream(reply)
                else:
                    self._send(reply)

            def _send(self, reply: Reply) -> None:
                data = reply.raw if reply.raw is not None else json.dumps(_whole(reply)).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _stream(self, reply: Reply) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                parts = _parts(reply)
                for part in parts[: reply.cut]:
                    self.wfile.write(b"data: " + json.dumps(part).encode() + b"\n\n")
                    self.wfile.flush()
                if reply.cut is None:
                    self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def _whole(reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        return {"error": reply.error or {"message": "no", "code": None}}
    message = {"role": "assistant", "content": reply.content}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish}
    whole: dict[str, Any] = {"id": "a", "object": "chat.completion", "created": 1, "model": "toy"}
    return whole | {"choices": [choice]} | ({"usage": reply.usage} if reply.usage else {})


def _parts(reply: Reply) -> list[dict[str, Any]]:
    head = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "toy"}
    texts = [reply.content[at : at + 7] for at in range(0, len(reply.content), 7)]
    deltas: list[dict[str, Any]] = [
        {"index": 0, "delta": {"content": text}, "finish_reason": None} for text in texts
    ]
    deltas.append({"index": 0, "delta": {}, "finish_reason": reply.finish})
    usage = [{**head, "choices": [], "usage": reply.usage}] if reply.usage else []
    return [{**head, "choices": [delta]} for delta in deltas] + usage
