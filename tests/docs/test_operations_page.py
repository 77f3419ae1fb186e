"""docs/operations.md says of the code what is so: no more, no less."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import SecretStr

from agents.feedback.join import OUTCOMES
from agents.hints import filters
from agents.offline_replay import OfflineResult
from agents.parts import ALL_ROLES
from agents.session.refresh import REASON_CODES
from agents.session.step import Outcome
from agents.think.lifecycle import Change
from agents.think.mapping import LoadOutcome, LoadReport
from agents.think.old_versions import Leftovers
from aigq.demo_run import DemoRun
from streams import errors
from streams.dead_letters import INTERNAL_ERROR, UNREADABLE
from streams.errors import AigqError, EventError
from streams.hint_outcome import WhyNot
from streams.hint_writer import PublishOutcome
from streams.log_producer import ReplaySummary
from streams.log_report import LogReport
from streams.metrics import Metrics
from streams.records import BehaviorEvent, Source, decode_event
from streams.settings import PREFIX, TEST_NAMES, Settings
from streams.topics import topic_configs
from tests.docs.command_tree import leaves
from tests.docs.pages import ROOT, first_names, rows, section, text_of, ticked
from training.think.versions.build_version import Built
from training.think.versions.version_diff import VersionDiff

PAGE = text_of("docs/operations.md")


def test_topics_and_their_configurations() -> None:
    shown = {ticked(row[0])[0]: set(ticked(row[3])) for row in rows(section(PAGE, "Topics"))}
    configs = topic_configs(Settings())
    assert shown == {name: {f"{k}={v}" for k, v in config.items()} for name, config in configs.items()}


def test_kafka_rights_name_roles_and_topics_that_exist() -> None:
    table = rows(section(PAGE, "Kafka rights"))
    assert sorted(row[0] for row in table) == sorted(ALL_ROLES)
    named = {name for row in table for cell in row[1:3] for name in ticked(cell)}
    assert named == set(topic_configs(Settings()))


def test_settings_and_their_defaults() -> None:
    shown = {ticked(row[0])[0]: row[1] for row in rows(section(PAGE, "Settings"))}
    defaults = {f"{PREFIX}{name.upper()}": _shown(f.default) for name, f in Settings.model_fields.items()}
    assert shown == defaults


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | TEST_NAMES
    known |= {f"{name}_FILE" for name in known}
    for page in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"):
        named = set(re.findall(r"\bAIGQ_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8")))
        assert named <= known, page.name


def test_metrics_with_kind_and_labels() -> None:
    shown = {
        ticked(row[0])[0]: (row[1], tuple(ticked(row[2])))
        for row in rows(section(PAGE, "Health and metrics"))
    }
    assert shown == _metrics()


def test_alarms_use_metrics_and_labels_that_exist() -> None:
    known = _metrics()
    expressions = [ticked(row[1])[0] for row in rows(section(PAGE, "Alarms"))]
    assert len(expressions) >= 8
    for expression in expressions:
        names = re.findall(r"aigq_\w+", expression)
        assert names, expression
        for name in names:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in known or known[base][0] == "histogram", expression
        for name, labels in re.findall(r"(aigq_\w+)\{(.*?)\}", expression):
            assert set(re.findall(r"(\w+)=", labels)) <= set(known[name][1]), expression


def test_event_outcomes() -> None:
    part = section(PAGE, "Outcomes and reasons")
    shown = first_names(part[: part.index("### ")])
    assert sorted(shown) == sorted([*Outcome, "dead_lettered"])


def test_refresh_reasons_in_full() -> None:
    assert sorted(first_names(section(PAGE, "Refresh reasons"))) == sorted(REASON_CODES)


def test_dead_letter_reasons() -> None:
    shown = set(first_names(section(PAGE, "Dead letters")))
    assert shown == {
        *_reasons_in_code(),
        "not_json",
        "bad_event",
        "bad_<field>",
        INTERNAL_ERROR,
        UNREADABLE,
        "bad_state",
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not_json"),
        (b"[]", "bad_event"),
        (b'{"action_name": "view", "timestamp": "now"}', "bad_<field>"),
        (b'{"action_name": "view", "timestamp": 1512129600000, "user_id": ""}', "bad_<field>"),
    ],
)
def test_what_cannot_be_decoded_has_a_reason_of_the_table(value: bytes, reason: str) -> None:
    with pytest.raises(EventError) as caught:
        decode_event(value, {}, Source("t", 0, 0), 1_900_000_000_000)
    found = caught.value.reason
    general = "bad_<field>" if found.removeprefix("bad_") in BehaviorEvent.model_fields else found
    assert general == reason


def test_filters_and_feedback() -> None:
    part = section(PAGE, "Filters, feedback")
    reasons = {value for name, value in vars(filters).items() if name.isupper() and isinstance(value, str)}
    expected = {*reasons, *OUTCOMES.values(), *filter(None, WhyNot)}
    assert expected <= set(ticked(part))


def test_publish_and_load_outcomes_stand_with_their_metrics() -> None:
    meanings = {ticked(row[0])[0]: set(ticked(row[3])) for row in rows(section(PAGE, "Health and metrics"))}
    assert meanings["aigq_lists_total"] == set(PublishOutcome)
    assert meanings["aigq_think_loads_total"] == {*LoadOutcome, "failed"}


def test_errors_and_exit_codes() -> None:
    shown = {ticked(row[0])[0]: int(row[1]) for row in rows(section(PAGE, "Errors"))}
    ours = {kind.__name__: kind.exit_code for kind in vars(errors).values() if _is_error(kind)}
    assert shown == ours


def test_the_error_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    named = set(re.findall(r"\b\w+Error\b", errors.__doc__ or ""))
    assert named == {kind.__name__ for kind in vars(errors).values() if _is_error(kind)}


def test_commands_with_json_and_their_fields() -> None:
    shown = {
        ticked(row[0])[0]: set(ticked(row[1])) for row in rows(section(PAGE, "Command line for scripts"))
    }
    having = {path for path, command in leaves() if any("--json" in option.opts for option in command.params)}
    assert set(shown) == having
    offline = set(re.findall(r'"(\w+)":', inspect.getsource(OfflineResult.as_dict))) | {"differences"}
    assert shown["aigq replay"] == offline | set(ReplaySummary(0, 0, 0, 0, False, 0.0).as_dict())
    assert shown["aigq events validate"] == set(LogReport().as_dict())
    assert shown["aigq think load"] == {field.name for field in fields(LoadReport)}
    assert shown["aigq think canary"] == {field.name for field in fields(Change)}
    assert shown["aigq think gc"] == {"deleted", *(field.name for field in fields(Leftovers))}
    assert shown["aigq think diff"] >= {field.name for field in fields(VersionDiff)}
    assert shown["aigq think build"] == {"root", *(field.name for field in fields(Built))}
    assert shown["aigq demo"] == set(re.findall(r'"(\w+)":', inspect.getsource(DemoRun._summary)))


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, AigqError)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return "–"
    return f"`{value:.10g}`" if isinstance(value, float) else f"`{value}`"


def _metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name as Prometheus shows it → kind and labels (the client has no public name for the labels)."""
    found = {}
    for metric in vars(Metrics()).values():
        for family in metric.describe() if hasattr(metric, "_labelnames") else ():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = (family.type, tuple(metric._labelnames))
    return found


def _reasons_in_code() -> set[str]:
    """`reason="…"` of every EventError that is made in the code."""
    files = [path for room in ("streams", "agents") for path in (ROOT / room).rglob("*.py")]
    return {reason for path in files for reason in _reasons(path)}


def _reasons(path: Path) -> set[str]:
    kinds = {"EventError", "EventDecodeError", "EventRuleError"}
    calls = (
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    )
    return {
        keyword.value.value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in kinds
        for keyword in call.keywords
        if keyword.arg == "reason"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    }
