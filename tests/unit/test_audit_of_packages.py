"""The look for known vulnerabilities tells a finding from a service that is away or knows nothing."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def service(status: int, body: bytes) -> Iterator[str]:
    """A server that gives everybody this answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "knows"),
    [
        (200, b'{"info": {}, "vulnerabilities": []}', True),
        (200, b'{"info": {}}', False),
        (200, b"<html>log in</html>", False),
        (404, b"", False),
        (503, b"", False),
    ],
)
def test_only_a_service_that_tells_vulnerabilities_is_asked(
    audit: ModuleType, status: int, body: bytes, knows: bool
) -> None:
    with service(status, body) as url:
        assert audit.knows_vulnerabilities(url, "redis", "8.1.0") is knows


def test_a_service_that_is_away_is_a_note_and_no_failure(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "constraints.txt").write_text("redis==8.1.0\n")
    assert audit.main(tmp_path / "constraints.txt", tmp_path / "audit", "http://127.0.0.1:1") == 0
    assert "not run" in capsys.readouterr().out
    assert not (tmp_path / "audit").exists(), "nothing is installed for it"


def test_findings_and_unknown_packages_are_counted_apart(audit: ModuleType) -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": []}]},
            {"name": "b", "version": "1", "vulns": []},
            {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1)"},
        ],
        "fixes": [],
    }
    verdict = audit.judge(json.dumps(report))
    assert verdict.findings == ("a 1: PYSEC-1, fixed in 2",)
    assert (verdict.audited, verdict.unknown) == (2, 1)


@pytest.mark.parametrize("report", ["", "Traceback", "[]", "{}"])
def test_a_program_that_broke_off_says_nothing(audit: ModuleType, report: str) -> None:
    assert audit.judge(report) is None


def test_every_pin_can_be_asked_for(audit: ModuleType) -> None:
    name, version = audit.first_pin((ROOT / "constraints.txt").read_text())
    assert name
    assert version[0].isdigit()
