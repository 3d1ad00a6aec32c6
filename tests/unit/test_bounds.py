"""Limits that have to fit each other, and what an environment may hold."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.config.settings import Settings
from app.contract.spec import MAX_ENV_TOTAL, MAX_ENV_VALUE, MAX_SPEC, BuildSpec
from app.errors import SettingsError
from worker import api_client

NEEDED = {
    "BATON_REDIS_URL": "redis://127.0.0.1/0",
    "BATON_ISSUER": "https://login.example.com/",
    "BATON_AUDIENCE": "https://builds.example.com/",
    "BATON_MINT_CLIENT_SECRET": "a secret",
    "BATON_MESSAGE_KEYS": "A" * 43 + "=",
}


def spec(env: dict[str, str]) -> dict[str, Any]:
    return {"steps": [{"name": "a", "run": "true"}], "env": env}


def test_a_worker_reads_the_largest_claim() -> None:
    assert MAX_SPEC + 512 * 1024 < api_client._MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATON_MAX_BODY", str(MAX_SPEC + 1)),
        ("BATON_KILL_GRACE", "inf"),
        ("BATON_LEASE", "inf"),
        ("BATON_MAX_QUEUE_WAIT", "inf"),
        ("BATON_IDEMPOTENCY_TTL", "1e300"),
        ("BATON_RETENTION", "0"),
        ("BATON_REDIS_URL", "127.0.0.1:6379"),
        ("BATON_REDIS_URL", "https://127.0.0.1:6379"),
        ("BATON_CORS_ORIGINS", "https://"),
        ("BATON_MESSAGE_KEYS", "too-short"),
    ],
)
def test_a_setting_out_of_bounds_stops_the_start(name: str, value: str) -> None:
    Settings.from_env(NEEDED)
    with pytest.raises(SettingsError, match=name):
        Settings.from_env(NEEDED | {name: value})


def test_an_environment_is_counted_in_bytes_as_the_kernel_does() -> None:
    BuildSpec.model_validate(spec({"X": "é" * (MAX_ENV_VALUE // 2)}))
    with pytest.raises(ValidationError):
        BuildSpec.model_validate(spec({"X": "é" * (MAX_ENV_VALUE // 2 + 1)}))


def test_an_environment_is_bounded_as_a_whole() -> None:
    pieces = MAX_ENV_TOTAL // MAX_ENV_VALUE
    with pytest.raises(ValidationError):
        BuildSpec.model_validate(spec({f"X{n}": "x" * MAX_ENV_VALUE for n in range(pieces)}))
