"""The Docker files, as far as they can be checked without an engine (see docs/operations.md)."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from agents.parts import Role
from streams.settings import Settings, load_settings
from tests.docs.command_tree import fault_in

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
services = pytest.mark.parametrize("name", SERVICES)


class Stage(NamedTuple):
    """A stage of the Dockerfile: where it starts from, and its instructions in order."""

    base: str
    steps: list[tuple[str, str]]


def _stages() -> dict[str, Stage]:
    text = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line and not line.startswith("#")]
    found: dict[str, Stage] = {}
    for line in lines:
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            found[name] = current = Stage(base, [])
        else:
            current.steps.append((word, " ".join(rest.split())))
    return found


STAGES = _stages()


def _lineage(stage: str) -> list[tuple[str, str]]:
    """All instructions that make the image of a stage, its bases' first."""
    base = STAGES[stage].base
    return [*(_lineage(base) if base in STAGES else []), *STAGES[stage].steps]


def _environment(stage: str) -> dict[str, str]:
    pairs = [pair for word, rest in _lineage(stage) if word == "ENV" for pair in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_image_runs_as_a_numbered_user_who_is_not_root(target: str) -> None:
    steps = _lineage(target)
    words = [word for word, _ in steps]
    users = [rest for word, rest in steps if word == "USER"]
    assert users and users[-1].isdigit() and users[-1] != "0"
    assert any(f"--uid {users[-1]}" in rest for word, rest in steps if word == "RUN")
    assert words.index("USER") < words.index("CMD")


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_image_starts_a_worker_and_asks_it_whether_it_is_ready(target: str) -> None:
    last = dict(_lineage(target))
    assert last["ENTRYPOINT"] == '["aigq"]'
    assert not fault_in(["aigq", *yaml.safe_load(last["CMD"])])
    port = _environment(target)["AIGQ_WEB_PORT"]
    assert f"127.0.0.1:{port}/ready" in last["HEALTHCHECK"]
    assert last["EXPOSE"] == port
    assert last["STOPSIGNAL"] == "SIGTERM"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_settings_in_the_image_are_settings_of_ours(target: str) -> None:
    ours = {name: value for name, value in _environment(target).items() if name.startswith("AIGQ_")}
    settings = load_settings(ours)
    assert settings.web_host == "0.0.0.0"  # noqa: S104  # in a container, behind its network
    assert settings.onnx_provider == ("cuda" if target == "gpu" else "cpu")
    assert (Path("/app/var"), "/app/var") == (settings.data_dir.parent, dict(_lineage(target))["VOLUME"])


def test_every_stage_exists_before_it_is_used_and_images_are_pinned() -> None:
    seen: set[str] = set()
    for name, stage in STAGES.items():
        copied = [rest.split()[0].removeprefix("--from=") for word, rest in stage.steps if "--from=" in rest]
        assert set(copied) <= seen
        if stage.base not in seen:
            assert _is_pinned(stage.base)
        seen.add(name)


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    copies = [rest.split()[:-1] for stage in STAGES.values() for word, rest in stage.steps if word == "COPY"]
    sources = {source for copy in copies if not copy[0].startswith("--from") for source in copy}
    assert {"streams", "agents", "aigq", "exported_models", "pyproject.toml"} <= sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not _is_ignored(source), source


@pytest.mark.parametrize("name", [".git", ".venv", "var", "tests", "streams/__pycache__", "runs", "docs"])
def test_what_is_no_part_of_the_image_is_ignored(name: str) -> None:
    assert _is_ignored(name)


def test_the_bundle_that_a_worker_loads_is_in_the_image() -> None:
    settings = Settings()
    for folder in (settings.bundle_dir, settings.think_dir):
        assert not folder.is_absolute() and folder.parts[0] == "exported_models"
    assert dict(_lineage("cpu"))["WORKDIR"] == "/app"


@services
def test_every_service_has_a_pinned_image_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert _is_pinned(service["image"])
    if "build" in service:
        assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert "HEALTHCHECK" in dict(_lineage(service["build"]["target"]))
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


@services
def test_services_wait_for_healthy_ones_that_exist(name: str) -> None:
    for needed, rule in SERVICES[name].get("depends_on", {}).items():
        assert needed in SERVICES
        assert rule == {"condition": "service_healthy"}


@services
def test_volumes_are_declared_and_ports_stay_on_this_machine(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        assert volume.split(":")[0] in COMPOSE["volumes"]
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_workers_have_our_settings_and_names_and_folders_of_their_own() -> None:
    workers = {name: service for name, service in SERVICES.items() if "build" in service}
    assert len(workers) == 2
    for name, service in workers.items():
        settings = load_settings(service["environment"])
        assert settings.worker_name == name
        assert {
            settings.kafka_bootstrap[0].split(":")[0],
            settings.redis_url.split("/")[2].split(":")[0],
        } <= set(SERVICES)
        assert service["volumes"] == [f"{name}-data:{dict(_lineage('cpu'))['VOLUME']}"]
        assert "command" not in service  # all roles
    assert len(Role) == 5


def test_kafka_keeps_its_data_in_its_volume_and_makes_no_topics_by_itself() -> None:
    kafka = SERVICES["kafka"]
    assert kafka["environment"]["KAFKA_LOG_DIRS"] in [volume.split(":")[1] for volume in kafka["volumes"]]
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    for listener in re.findall(r"(\w+)://", kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]):
        assert f"{listener}:" in kafka["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]
        assert f"{listener}://" in kafka["environment"]["KAFKA_LISTENERS"]


def test_redis_keeps_its_data_and_never_evicts_the_deny_set() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def _is_pinned(image: str) -> bool:
    name, _, tag = image.partition(":")
    return bool(name and tag) and tag != "latest"


def _is_ignored(path: str) -> bool:
    """Docker's rule for patterns like ours: the last that matches the path or a folder above it decides."""
    parts = path.split("/")
    above = ["/".join(parts[: place + 1]) for place in range(len(parts))]
    ignored = False
    for pattern in IGNORED:
        plain = pattern.lstrip("!").removeprefix("**/")
        whole = [
            part
            for prefix in above
            for part in ((prefix, prefix.rsplit("/", 1)[-1]) if "**/" in pattern else (prefix,))
        ]
        if any(fnmatch(name, plain) for name in whole):
            ignored = not pattern.startswith("!")
    return ignored
