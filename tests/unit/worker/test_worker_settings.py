"""A worker's settings: few, and each wrong one is named."""

import os
from pathlib import Path

import pytest

from app.errors import SettingsError
from worker.settings import WorkerSettings

GOOD = {
    "BATON_BROKER_URL": "redis://:hunter2@localhost/0",
    "BATON_API_URL": "https://builds.example.com",
    "BATON_MESSAGE_KEYS": "A" * 43 + "=",
}


def test_broker_and_api_are_enough() -> None:
    settings = WorkerSettings.from_env(GOOD)
    assert settings.broker == "redis://:hunter2@localhost/0"
    assert settings.git_protocols == ("https", "ssh")
    assert settings.worker_name == os.uname().nodename
    assert settings.sandbox == "auto"
    assert not settings.sandbox_network
    assert not settings.development


def test_the_stores_redis_is_the_broker_where_none_is_set_apart() -> None:
    environ = {**GOOD, "BATON_REDIS_URL": "redis://store/0"}
    del environ["BATON_BROKER_URL"]
    assert WorkerSettings.from_env(environ).broker == "redis://store/0"
    assert WorkerSettings.from_env(environ | GOOD).broker == GOOD["BATON_BROKER_URL"]


def test_the_brokers_password_is_not_shown() -> None:
    assert "hunter2" not in repr(WorkerSettings.from_env(GOOD))


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 512 << 20), ("4G", 4 << 30), ("10k", 10240), ("7", 7),
                       ("2GiB", 2 << 30), ("1MB", 1 << 20)]
)  # fmt: skip
def test_sizes_have_units(text: str, size: int) -> None:
    assert WorkerSettings.from_env(GOOD | {"BATON_SANDBOX_MEMORY": text}).sandbox_memory == size


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_one_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        WorkerSettings.from_env({k: v for k, v in GOOD.items() if k != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATON_BROKER_URL", "localhost:6379"),
        ("BATON_BROKER_URL", "http://:hunter2@localhost/"),
        ("BATON_BROKER_URL", "unix://:hunter2@/run/redis.sock"),
        ("BATON_API_URL", "builds.example.com"),
        ("BATON_API_URL", "ftp://builds.example.com"),
        ("BATON_API_URL", "https://user:password@builds.example.com"),
        ("BATON_API_URL", "https://builds.example.com/?a=b"),
        ("BATON_API_URL", "https://builds.example.com/#top"),
        ("BATON_WORKER_NAME", "two words"),
        ("BATON_WORKER_NAME", "x" * 65),
        ("BATON_WORKER_CONCURRENCY", "0"),
        ("BATON_WORKER_CONCURRENCY", "many"),
        ("BATON_LOG_LEVEL", "loud"),
        ("BATON_SANDBOX", "docker"),
        ("BATON_SANDBOX_NETWORK", "perhaps"),
        ("BATON_SANDBOX_MEMORY", "lots"),
        ("BATON_SANDBOX_MEMORY", "0"),
        ("BATON_SANDBOX_MEMORY", "-1G"),
        ("BATON_SANDBOX_PROCESSES", "0"),
        ("BATON_SANDBOX_FILE_SIZE", "1.5G"),
        ("BATON_SANDBOX_USER", "0"),
        ("BATON_SANDBOX_USER", "nobody"),
        ("BATON_GIT_PROTOCOLS", "https,ext"),
        ("BATON_GIT_PROTOCOLS", ","),
        ("BATON_GIT_SSH_KEY", "/no/such/key"),
        ("BATON_GIT_SSH_KEY", "/"),
        ("BATON_GIT_SSH_KEY", "/" + "x" * 300),
        ("BATON_GIT_SSH_KNOWN_HOSTS", "/no/such/file"),
        ("BATON_DEVELOPMENT", "somewhat"),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        WorkerSettings.from_env(GOOD | {name: value})
    assert "hunter2" not in str(caught.value)


def test_a_wrong_protocol_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="ext cannot be allowed; choose from file, http, https"):
        WorkerSettings.from_env(GOOD | {"BATON_GIT_PROTOCOLS": "https ext"})


def test_the_broker_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "broker"
    file.write_text("rediss://:from-the-file@redis/0\n")
    environ = {k: v for k, v in GOOD.items() if k != "BATON_BROKER_URL"}
    environ |= {"BATON_BROKER_URL_FILE": str(file)}
    assert WorkerSettings.from_env(environ).broker == "rediss://:from-the-file@redis/0"
