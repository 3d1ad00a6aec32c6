"""Signing in from the terminal at the embedded issuer, as in `baton dev`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.signing_in.browser import browse
from tests.support.signing_in.terminal import Home
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), BATON_ISSUER_USER_LIFETIME="6") as stack:
        stack.worker()
        yield stack


@pytest.fixture
def home(stack: Stack, tmp_path: Path) -> Home:
    return Home(tmp_path, stack.api_url)


def test_sign_in_submit_stay_signed_in_and_sign_out(home: Home) -> None:
    signed_in = home.baton("login")
    assert signed_in.returncode == 0, signed_in.stderr
    assert "Not granted" not in signed_in.stderr
    wait_until("the browser has its page", home.browsed.exists)
    assert "You are signed in" in home.browsed.read_text()
    first = home.kept()

    script = "for i in $(seq 20); do echo tick $i; sleep 0.5; done"
    followed = home.baton("submit", "--follow", "--run", script)

    assert followed.returncode == 0, followed.stderr
    assert followed.stdout.count("\ntick") == 20
    assert home.kept()["refresh_token"] != first["refresh_token"]

    assert "revoked its tokens" in home.baton("logout").stderr
    assert home.baton("list").returncode == 2


def test_a_code_that_is_entered_elsewhere_signs_in(home: Home) -> None:
    with home.start("login", "--device") as login:
        page = browse(login.wait_for(r"(http://\S+user_code=\S+)"))

        assert "Your terminal is connected" in page.text
        assert login.wait() == 0, login.said
    assert home.baton("list").returncode == 0


def test_a_code_that_is_denied_does_not(home: Home) -> None:
    with home.start("login", "--device") as login:
        browse(login.wait_for(r"(http://\S+user_code=\S+)"), decision="deny")

        assert login.wait() == 1
    assert "not signed in" in login.said
    assert not home.config.exists()
