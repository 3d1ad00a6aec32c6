"""The client commands against a real stack, in a pipe."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import COMMANDS
from tests.integration.dev_process import BATON, environment
from tests.support.stack import Stack
from tests.support.terminal.commands import baton, run, settings, status, submit
from tests.support.waiting import wait_until

BUILD_ID = re.compile(r"bld_[0-9A-Z]{26}")
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("cli")) as stack:
        stack.worker()
        yield stack


# ── what they do ──────────────────────────────────────────────────────────────────────────────


def test_submit_prints_the_id_and_nothing_else(stack: Stack) -> None:
    done = baton(stack, "submit", "--run", "true")

    assert done.returncode == 0
    assert BUILD_ID.fullmatch(done.stdout.decode().removesuffix("\n"))
    assert done.stderr == b""


def test_a_followed_build_gives_its_log_byte_by_byte_and_its_end_as_exit_code(
    stack: Stack,
) -> None:
    script = r"printf '\033]0;title\007\033[31mred\033[0m\r\n\377no end'"

    done = baton(stack, "submit", "--run", script, "--follow")

    assert done.returncode == 0
    assert done.stdout.endswith(b"\x1b]0;title\x07\x1b[31mred\x1b[0m\r\n\xffno end")
    found = BUILD_ID.search(done.stderr.decode())
    assert found
    assert b"succeeded after" in done.stderr
    assert baton(stack, "logs", found[0]).stdout == done.stdout
    assert baton(stack, "logs", "--offset", "5", found[0]).stdout == done.stdout[5:]


@pytest.mark.parametrize(
    ("options", "ended"),
    [
        (["--run", "exit 3"], b"failed"),
        (["--run", "sleep 60", "--timeout", "1"], b"timed out"),
        (["--git", "file:///nowhere/at/all", "--run", "true"], b"errored"),
    ],
)
def test_a_followed_build_that_does_not_succeed_exits_with_1(
    stack: Stack, options: list[str], ended: bytes
) -> None:
    done = baton(stack, "submit", "--follow", *options)

    assert done.returncode == 1
    assert ended in done.stderr


def test_a_spec_comes_from_a_file_or_from_stdin(stack: Stack, tmp_path: Path) -> None:
    spec = {"steps": [{"name": "greet", "run": 'echo "hello $WHO"'}], "env": {"WHO": "you"}}
    file = tmp_path / "build.json"
    file.write_text(json.dumps(spec))

    from_file = baton(stack, "submit", str(file), "--follow")
    from_stdin = baton(stack, "submit", "-", "--follow", stdin=file.read_bytes())

    assert from_file.returncode == 0, from_file.stderr
    assert b"hello you" in from_file.stdout
    assert from_stdin.stdout == from_file.stdout


def test_options_become_the_spec(stack: Stack) -> None:
    done = baton(
        stack, "submit", "--json", "--git", "https://git.invalid/a.git", "--ref", "main",
        "--run", "make", "--run", "make", "--env", "A=b=c", "--label", "pr=17", "--timeout", "60",
    )  # fmt: skip

    spec = json.loads(done.stdout)["spec"]
    assert spec["source"] == {"git": "https://git.invalid/a.git", "ref": "main", "sha": None}
    assert [step["name"] for step in spec["steps"]] == ["make", "make (2)"]
    assert (spec["env"], spec["labels"], spec["timeout"]) == ({"A": "b=c"}, {"pr": "17"}, 60)


def test_the_same_idempotency_key_gives_the_same_build(stack: Stack) -> None:
    first, again = (
        baton(stack, "submit", "--run", "true", "--idempotency-key", "one") for _ in range(2)
    )
    other = baton(stack, "submit", "--run", "false", "--idempotency-key", "one")

    assert first.stdout == again.stdout
    assert other.returncode == 1
    assert b"(422)" in other.stderr


def test_list_is_for_people_pipes_and_programs(stack: Stack) -> None:
    ids = [baton(stack, "submit", "--run", "true", user="eve").stdout.decode().strip()
           for _ in range(3)]  # fmt: skip

    lines = baton(stack, "list", user="eve").stdout.decode().splitlines()
    two = json.loads(baton(stack, "list", "--json", "-n", "2", user="eve").stdout)

    assert [line.split("\t")[0] for line in lines] == ids[::-1]
    assert [build["id"] for build in two["builds"]] == ids[:0:-1]
    assert two["next"]


def test_a_reader_that_leaves_is_no_error(stack: Stack) -> None:
    build_id = submit(stack, "seq 200000")
    baton(stack, "logs", "--follow", build_id)

    done = subprocess.run(
        ["sh", "-c", f'"$0" logs {build_id} | head -1', BATON],
        env=settings(stack), check=False, capture_output=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_ctrl_c_in_a_pipe_detaches_and_says_how_to_go_on(stack: Stack, tmp_path: Path) -> None:
    out = tmp_path / "log"
    with out.open("wb") as file:
        follower = subprocess.Popen(
            [BATON, "submit", "--follow", "--run", "echo begun; sleep 3; echo done"],
            env=settings(stack), stdout=file, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until("the log has begun", lambda: b"\nbegun\n" in out.read_bytes(), seconds=60)

        follower.send_signal(signal.SIGINT)
        _, said = follower.communicate(timeout=60)

    assert follower.returncode == 130
    command = said.decode().partition("continue with:  baton ")[2]
    rest = baton(stack, *command.split())
    assert rest.returncode == 0
    assert rest.stdout == b"done\n"


def test_following_goes_on_over_a_restart_of_the_api(stack: Stack, tmp_path: Path) -> None:
    out = tmp_path / "log"
    with out.open("wb") as file:
        follower = subprocess.Popen(
            [BATON, "submit", "--follow", "--run", "seq 50; sleep 5; seq 50 100"],
            env=settings(stack), stdout=file, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until("the log has begun", lambda: b"\n50\n" in out.read_bytes(), seconds=60)

        stack.api.stop(signal.SIGKILL)
        stack.start_api()
        _, said = follower.communicate(timeout=60)

    assert follower.returncode == 0, said
    found = BUILD_ID.search(said.decode())
    assert found
    assert out.read_bytes() == baton(stack, "logs", found[0]).stdout
    assert out.read_bytes().endswith(b"\n100\n")


def test_cancel_and_retry(stack: Stack) -> None:
    build_id = submit(stack, "sleep 120")
    wait_until("it runs", lambda: status(stack, build_id) == "running", seconds=60)

    done = baton(stack, "cancel", build_id)
    followed = baton(stack, "logs", "--follow", build_id)

    assert done.returncode == 0, done.stderr
    assert followed.returncode == 1
    assert status(stack, build_id) == "cancelled"
    again = baton(stack, "retry", build_id, "--json")
    assert json.loads(again.stdout)["retry_of"] == build_id
    assert baton(stack, "cancel", json.loads(again.stdout)["id"]).returncode == 0


def test_show_tells_what_happened(stack: Stack) -> None:
    done = baton(stack, "submit", "--follow", "--run", "true", "--run", "exit 7", "--label", "a=b")
    found = BUILD_ID.search(done.stderr.decode())
    assert found

    shown = baton(stack, "show", found[0]).stdout.decode()

    assert "✗ failed" in shown
    assert "a=b" in shown
    assert re.search(r"exit 7 +✗ failed +7", shown)


# ── what is wrong is said in a sentence ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["submit"], "nothing to run"),
        (["submit", "--run", "x", "--ref", "main"], "--ref and --sha need --git"),
        (["submit", "--run", "x", "--env", "A"], "--env takes NAME=VALUE"),
        (["submit", "--run", "x", "--env", "A-B=1"], "env: 'A-B' is not a variable name"),
        (["submit", "--run", "x", "--git", "nonsense"], "source/git: must be a URL"),
        (["submit", "x.json", "--run", "x"], "a spec file says it all"),
        (["submit", "/nowhere.json"], "cannot read the spec"),
        (["submit", "--run", "x", "--follow", "--json"], "choose one"),
        (["list", "--status", "nonsense"], "nonsense"),
        (["frobnicate"], "No such command"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_sent(arguments: list[str], says: str) -> None:
    env = environment(BATON_API_URL=NOWHERE, BATON_TOKEN="t", COLUMNS="200")

    done = run(env, *arguments)

    assert done.returncode == 2
    assert says in done.stderr.decode()


def test_a_spec_that_is_wrong_says_where(stack: Stack) -> None:
    spec = b'{"steps": [{"name": "a", "run": "true", "shell": "zsh"}]}'

    done = baton(stack, "submit", "-", stdin=spec)

    assert done.returncode == 2
    assert b"steps/0/shell" in done.stderr


def test_without_a_token_it_says_how_to_get_one(tmp_path: Path) -> None:
    done = run(environment(BATON_CONFIG_DIR=str(tmp_path), COLUMNS="200"), "list")

    assert done.returncode == 2
    assert b"sign in with: baton login --api http://127.0.0.1:8080\n" in done.stderr
    assert b"BATON_TOKEN" in done.stderr


def test_what_cannot_be_a_token_is_not_sent() -> None:
    done = run(environment(BATON_TOKEN="two words", BATON_API_URL=NOWHERE), "list")

    assert done.returncode == 2
    assert b"does not look like an access token" in done.stderr
    assert b"words" not in done.stderr


def test_a_refused_token_and_a_missing_build_are_sentences(stack: Stack) -> None:
    refused = baton(stack, "list", "--token", "nonsense")
    missing = baton(stack, "show", "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV")

    assert (refused.returncode, missing.returncode) == (1, 1)
    assert re.fullmatch(rb"baton: .+ \(401\)\n", refused.stderr)
    assert re.fullmatch(rb"baton: .+ \(404\)\n", missing.stderr)


def test_an_api_that_is_not_there_is_a_sentence() -> None:
    done = run(environment(BATON_TOKEN="t"), "list", "--api", NOWHERE)

    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"baton: cannot reach the API at {NOWHERE}: ")


@pytest.mark.parametrize("command", ["api", "issuer", "worker"])
def test_a_missing_setting_stops_the_start_by_name(command: str) -> None:
    done = run(environment(), command)

    assert done.returncode == 2
    assert re.match(rb"baton.*: BATON_\w+ is not set", done.stderr)


def test_token_prints_a_token_that_works_and_nothing_else(stack: Stack) -> None:
    done = baton(stack, "token", "--user", "zoe", "--scope", "read:builds")
    token = done.stdout.decode().removesuffix("\n")

    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token)
    assert baton(stack, "list", "--token", token).returncode == 0
    assert baton(stack, "submit", "--run", "true", "--token", token).returncode == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--user", "no such name"], "does not take 'no such name'"),
        (["--user", "ann", "--scope", "nonsense"], "nonsense"),
        (["--user", "ann", "--audience", "https://other.example/"], "other.example"),
    ],
)
def test_a_refused_sign_in_is_a_sentence(stack: Stack, options: list[str], says: str) -> None:
    done = baton(stack, "token", *options)

    assert done.returncode == 1
    assert says in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_that_says_what_it_is_for(command: str) -> None:
    done = run(environment(), command, "--help")

    assert done.returncode == 0
    assert f"Usage: baton {command}" in done.stdout.decode()


def test_the_demo_holds_what_it_promises_and_leaves_nothing() -> None:
    done = subprocess.run(
        [BATON, "demo"], env=environment(),
        check=False, capture_output=True, text=True, timeout=170,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓") > 8
    assert "✗" not in done.stdout
    folder = re.search(r"data in (\S+)", done.stdout)
    assert folder
    assert not Path(folder[1]).parent.exists()
