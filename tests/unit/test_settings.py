from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.settings import Settings, load_settings


def test_names_and_types_come_from_the_environment() -> None:
    settings = load_settings({"AIGQ_KAFKA_URL": "kafka://a:1,b:2", "AIGQ_PARTITIONS": "8", "HOME": "/x"})
    assert settings.kafka_bootstrap == ["a:1", "b:2"]
    assert settings.partitions == 8


def test_an_argument_wins_over_the_environment() -> None:
    assert load_settings({"AIGQ_PARTITIONS": "8"}, partitions=2, data_dir=None).partitions == 2


def test_a_misspelt_setting_is_an_error_that_names_it() -> None:
    with pytest.raises(SettingsError, match="AIGQ_KAFKAURL"):
        load_settings({"AIGQ_KAFKAURL": "kafka://a:1"})


def test_the_tests_own_names_are_no_settings() -> None:
    assert load_settings({"AIGQ_TEST_KAFKA_URL": "kafka://a:1"}) == Settings()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"AIGQ_PARTITIONS": "many"}, "AIGQ_PARTITIONS"),
        ({"AIGQ_SESSION_TIMEOUT_S": "5"}, "AIGQ_SESSION_TIMEOUT_S"),
        ({"AIGQ_KAFKA_URL": "localhost:9092"}, "kafka://host:port"),
        ({"AIGQ_KAFKA_SECURITY": "SASL_SSL"}, "kafka_username"),
    ],
)
def test_a_wrong_value_is_an_error_that_says_where(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(environ)


def test_a_secret_comes_from_a_file_and_is_never_printed(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    settings = load_settings({"AIGQ_REDIS_PASSWORD_FILE": str(secret)})
    assert settings.redis_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_a_secret_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="AIGQ_KAFKA_PASSWORD_FILE"):
        load_settings({"AIGQ_KAFKA_PASSWORD_FILE": str(tmp_path / "none")})
