"""`baton secrets` on a real Redis: who may do what with the files that it makes."""

import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from app.cli import baton
from app.contract.queue import QUEUE
from tests.support.needs import redis_server
from tests.support.servers.redis_process import free_port
from tests.support.waiting import wait_until


def _make(folder: Path, port: int) -> None:
    result = CliRunner().invoke(baton, ["secrets", "--redis", f"127.0.0.1:{port}", str(folder)])
    assert result.exit_code == 0, result.output


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def _redis(folder: Path, port: int, data: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [
            redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data),
            "--appendonly", "yes", "--save", "", "--aclfile", str(folder / "redis" / "users.acl"),
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until("redis answers its health check", lambda: _healthy(port))
        yield
    finally:
        process.terminate()
        process.wait(20)


def _healthy(port: int) -> bool:
    try:
        with redis.Redis(port=port, username="health", password="any") as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _client(folder: Path, file: str) -> redis.Redis:
    return redis.Redis.from_url((folder / file).read_text().strip())


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    _make(tmp_path, 6379)
    first = _files(tmp_path)
    assert sorted(first) == [
        "redis/users.acl",
        "server/message-keys",
        "server/mint-client-secret",
        "server/redis-url",
        "worker/broker-url",
        "worker/message-keys",
    ]
    _make(tmp_path, 6379)
    assert _files(tmp_path) == first
    _make(tmp_path, 6380)
    moved = {name: text.replace(":6379/", ":6380/") for name, text in first.items()}
    assert _files(tmp_path) == moved


def test_only_their_owner_reads_secrets_and_redis_gets_digests(tmp_path: Path) -> None:
    _make(tmp_path, 6379)
    for name in ("server/mint-client-secret", "server/redis-url", "worker/broker-url"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / name).parent.stat().st_mode) == 0o700
    users = tmp_path / "redis" / "users.acl"
    assert stat.S_IMODE(users.stat().st_mode) == 0o644
    for name in ("server/redis-url", "worker/broker-url"):
        password = (tmp_path / name).read_text().split(":")[2].partition("@")[0]
        assert len(password) > 40
        assert password not in users.read_text()


def test_a_worker_has_the_queue_and_nothing_else(tmp_path: Path) -> None:
    folder, port = tmp_path / "secrets", free_port()
    _make(folder, port)
    with (
        _redis(folder, port, tmp_path),
        _client(folder, "server/redis-url") as api,
        _client(folder, "worker/broker-url") as worker,
        redis.Redis(port=port) as stranger,
        redis.Redis(port=port, username="health", password="any") as health,
    ):
        api.lpush(QUEUE, "a message")
        api.set("baton:build:1", "a build")
        assert worker.brpop([QUEUE], timeout=1) == (QUEUE.encode(), b"a message")
        for client in (worker, health):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.get("baton:build:1")
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.keys("*")
        with pytest.raises(redis.exceptions.NoPermissionError):
            health.lrange(QUEUE, 0, -1)
        with pytest.raises(redis.exceptions.AuthenticationError):
            stranger.get("baton:build:1")


def test_transactions_are_still_there_when_redis_starts_again(tmp_path: Path) -> None:
    """Redis reads them back with the rights of its user `default`."""
    folder, port = tmp_path / "secrets", free_port()
    _make(folder, port)
    with _redis(folder, port, tmp_path), _client(folder, "server/redis-url") as api:
        api.pipeline(transaction=True).set("baton:build:1", "kept").set("baton:x", "1").execute()
    with _redis(folder, port, tmp_path), _client(folder, "server/redis-url") as api:
        assert api.get("baton:build:1") == b"kept"
