"""Where a checkout may go: to servers that sources may be on, whatever leads elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.user import User, steps
from tests.support.needs import needs
from tests.support.repository import Repository
from tests.support.servers.git_server import GitServer
from tests.support.stack import Stack

REFUSED = "is where sources may not be; BATON_GIT_NETWORKS"


@pytest.fixture(scope="module", params=["process", "bubblewrap"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Its worker lets sources be at 127.0.0.2, which stands for a company's git server here."""
    if request.param == "bubblewrap":
        needs("bwrap")
    with Stack(tmp_path_factory.mktemp("stack"), sandbox=request.param) as stack:
        stack.worker(BATON_GIT_NETWORKS="127.0.0.2/32")
        yield stack


def build(stack: Stack, url: str, script: str = "true") -> dict[str, Any]:
    with User(stack) as ann:
        found = ann.run(steps(script) | {"source": {"git": url}})
        return found | {"text": ann.log(found["id"])}


@contextmanager
def redirecting(to: str) -> Iterator[tuple[str, list[str]]]:
    """A server at 127.0.0.2 that sends everyone elsewhere, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", to + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.2", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.2:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/site.git",
        "http://localhost:{port}/site.git",
        "http://[::1]:{port}/site.git",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/latest",
        "ssh://git@127.0.0.1:{port}/site.git",
        "git@localhost:site.git",
    ],
)
def test_a_url_to_this_machine_or_beside_it_is_refused(
    stack: Stack, url: str, tmp_path: Path
) -> None:
    Repository(tmp_path / "site.git").commit(version="1")
    with GitServer(tmp_path) as server:
        port = server.host.rpartition(":")[2]
        found = build(stack, url.format(port=port))
        assert server.requests == []
    assert (found["status"], found["reason"]) == ("errored", "checkout_failed")
    assert REFUSED in found["message"]


def test_a_redirect_leads_nowhere_that_a_url_may_not(stack: Stack, tmp_path: Path) -> None:
    Repository(tmp_path / "site.git").commit(version="1")
    with GitServer(tmp_path) as server:
        with redirecting(f"http://{server.host}") as (url, asked):
            found = build(stack, f"{url}/site.git")
            assert asked  # it went there, and no further
        assert server.requests == []
    assert (found["status"], found["reason"]) == ("errored", "checkout_failed")
    assert REFUSED in found["message"]


def test_a_submodule_leads_nowhere_that_a_url_may_not(stack: Stack, tmp_path: Path) -> None:
    commit = Repository(tmp_path / "lib.git").commit(version="1")
    site = Repository(tmp_path / "site.git")
    with GitServer(tmp_path) as server, GitServer(tmp_path, host="127.0.0.2") as company:
        (site.path / ".gitmodules").write_text(
            f'[submodule "lib"]\n\tpath = lib\n\turl = {server.url("lib.git")}\n'
        )
        site.git("add", ".gitmodules")
        site.git("update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
        site.git("commit", "--quiet", "--message", "with a submodule")
        found = build(stack, company.url("site.git"))
        assert server.requests == []
        assert company.requests
    assert (found["status"], found["reason"]) == ("errored", "checkout_failed")
    assert REFUSED in found["message"]


def test_a_server_in_a_network_that_is_named_is_reached(stack: Stack, tmp_path: Path) -> None:
    Repository(tmp_path / "site.git").commit(version="from the company")
    with GitServer(tmp_path, host="127.0.0.2") as company:
        found = build(stack, company.url("site.git"), "cat version")
    assert found["status"] == "succeeded", found
    assert "from the company" in found["text"]


def test_a_password_in_the_url_is_not_left_for_the_steps(stack: Stack, tmp_path: Path) -> None:
    Repository(tmp_path / "site.git").commit(version="1")
    with GitServer(tmp_path, host="127.0.0.2", password="hunter2-the-password") as company:
        found = build(
            stack,
            company.url("site.git", credentials="ann:hunter2-the-password"),
            'grep -r hunter2 . "$HOME" "$TMPDIR" && exit 1; git remote get-url origin',
        )
        assert found["status"] == "succeeded", found
        assert company.url("site.git") in found["text"]
