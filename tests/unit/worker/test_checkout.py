"""The checkout's own rules, before and after git."""

import shlex
from pathlib import Path

import pytest

from app.contract.spec import Source
from worker.checkout import Checkout, _reason, without_credentials
from worker.egress_proxy import AddressPolicy
from worker.errors import CheckoutFailed
from worker.sandbox import Command, Workspace

PLACE = Workspace(root=Path("/nowhere"), inside=Path("/build"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Git:
    """Stands where the sandbox would run git, and keeps the command."""

    def __init__(self, status: int = 0, tail: bytes = COMMIT.encode() + b"\n") -> None:
        self.commands: list[Command] = []
        self._answer = status, tail

    def __call__(self, command: Command) -> tuple[int, bytes]:
        self.commands.append(command)
        return self._answer


def check_out(source: Source, git: Git, *protocols: str, **keys: Path) -> str:
    checkout = Checkout(
        protocols=protocols or ("https", "ssh"),
        policy=AddressPolicy(),
        ssh_key=keys.get("key"),
        ssh_known_hosts=keys.get("hosts"),
    )
    return checkout.run(source, PLACE, "/usr/bin:/bin", git, isolates=True)


@pytest.mark.parametrize(
    ("url", "protocols"),
    [
        ("https://example.com/x.git", ["https"]),
        ("ssh://git@example.com/x.git", ["https", "ssh"]),
        ("git@example.com:x.git", ["ssh"]),
        ("http://example.com/x.git", ["http"]),
    ],
)
def test_a_protocol_that_is_allowed_is_used(url: str, protocols: list[str]) -> None:
    git = Git()
    assert check_out(Source(git=url), git, *protocols) == COMMIT
    assert git.commands[0].env["SOURCE_URL"] == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x.git",
        "file:///etc",
        "git://example.com/x.git",
        "ftp://example.com/x",
        "fd://17/x",
        "ext://sh%20-c%20id",
    ],
)
def test_any_other_protocol_is_refused_before_git_is_run(url: str) -> None:
    git = Git()
    with pytest.raises(CheckoutFailed, match="only https, ssh"):
        check_out(Source(git=url), git)
    assert git.commands == []


def test_what_the_user_named_is_data_and_never_an_argument() -> None:
    git = Git()
    source = Source(git="https://example.com/x.git", ref="main", sha=COMMIT)
    check_out(source, git)
    [command] = git.commands
    assert list(command.argv) == ["/bin/sh", "-e"]
    assert command.script
    for word in (source.git, COMMIT):
        assert word not in command.script
    assert not command.network
    assert command.proxy


def test_submodules_never_open_files_of_this_host() -> None:
    git = Git()
    check_out(Source(git="https://example.com/x.git"), git, "https", "file")
    env = git.commands[0].env
    assert env["GIT_ALLOW_PROTOCOL"] == "https:file"
    assert env["SUBMODULE_PROTOCOLS"] == "https"


def test_only_the_named_repository_and_the_keys_are_readable(tmp_path: Path) -> None:
    repository = tmp_path / "a site"
    repository.mkdir()
    git = Git()
    check_out(Source(git=f"file://{tmp_path}/a%20site"), git, "file", key=Path("/k"))
    assert list(git.commands[0].readable) == [Path("/k"), repository]
    check_out(Source(git="https://example.com/x"), git, hosts=Path("/h"))
    assert list(git.commands[1].readable) == [Path("/h")]


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckoutFailed, match="there is no repository at"):
        check_out(Source(git=f"file://{tmp_path}/none"), Git(), "file")


def test_ssh_gets_its_files_as_one_word_each() -> None:
    git = Git()
    check_out(Source(git="git@h:x"), git, key=Path("/a dir/it's $HOME"), hosts=Path("/h"))
    words = shlex.split(git.commands[0].env["GIT_SSH_COMMAND"])
    assert words[words.index("-i") + 1] == "/a dir/it's $HOME"
    assert "UserKnownHostsFile=/h" in words
    assert "StrictHostKeyChecking=yes" in words
    assert "BatchMode=yes" in words


@pytest.mark.parametrize(
    "tail", [b"", b"main\n", COMMIT.encode(), b"x" + COMMIT.encode()[1:] + b"\n", b"deadbeef\n"]
)
def test_a_commit_is_a_whole_id_on_the_last_line(tail: bytes) -> None:
    with pytest.raises(CheckoutFailed, match="did not say which commit"):
        check_out(Source(git="https://example.com/x"), Git(0, tail))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/x.git", "https://example.com/x.git"),
        ("https://user:secret@example.com:8443/x.git", "https://example.com:8443/x.git"),
        ("https://secret@example.com/x.git", "https://example.com/x.git"),
        ("https://user:p@ss@example.com/x", "https://example.com/x"),
        ("ssh://git@example.com/x.git", "ssh://example.com/x.git"),
        ("git@example.com:team/x.git", "git@example.com:team/x.git"),
        ("file:///srv/a@b.git", "file:///srv/a@b.git"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"fatal: no such ref\n", "fatal: no such ref"),
        (b"warning: x\nerror: one\nfatal: two\nhint: try again\n", "fatal: two"),
        (b"Permission denied (publickey).\r\n", "Permission denied (publickey)."),
        (b"Host key verification failed.\n", "Host key verification failed."),
        (b"it was fatal: not this\n", "git ended with 128"),
        (b"fatalistic\n", "git ended with 128"),
        (b"", "git ended with 128"),
        (b"\xff\xfe\n", "git ended with 128"),
        (b"fatal: \xff\n", "fatal: \ufffd"),
        (b"remote: \x1b]0;owned\x07\x1b[31mred\n", "remote: ]0;owned[31mred"),
        (b"fatal: " + b"x" * 1000, "fatal: " + "x" * 493),
    ],
)
def test_gits_last_word_is_the_reason(tail: bytes, reason: str) -> None:
    assert _reason(tail, 128) == reason


def test_a_failed_git_fails_the_checkout_in_its_words() -> None:
    with pytest.raises(CheckoutFailed, match="fatal: no"):
        check_out(Source(git="https://example.com/x"), Git(128, b"fatal: no\n"))
