"""Signing in from the terminal at a third party's provider; the browser is a program."""

import re
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.providers.oidc_provider import OidcProvider
from tests.support.signing_in.browser import browse
from tests.support.signing_in.terminal import SCOPE, Home, api_of, provider
from tests.support.stack import Stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def issuer() -> Iterator[OidcProvider]:
    with provider() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def api(issuer: OidcProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with api_of(issuer, tmp_path_factory.mktemp("api")) as stack:
        yield stack


@pytest.fixture
def home(api: Stack, tmp_path: Path) -> Home:
    return Home(tmp_path, api.api_url)


# ── with a browser ────────────────────────────────────────────────────────────────────────────


def test_a_browser_signs_in_and_the_commands_need_no_token_any_more(home: Home) -> None:
    done = home.baton("login")

    assert done.returncode == 0, done.stderr
    assert f"Signed in to {home.env['BATON_API_URL']}." in done.stderr
    wait_until("the browser has its page", home.browsed.exists)
    page = home.browsed.read_text()
    assert page.startswith("200 http://127.0.0.1:")
    assert "You are signed in" in page
    assert "<script" not in page
    listed = home.baton("list")
    assert (listed.returncode, listed.stderr) == (0, "")


def test_nothing_that_it_prints_is_a_token_and_only_its_owner_can_read_the_file(
    home: Home,
) -> None:
    done = home.baton("login")

    kept = home.kept()
    for secret in (kept["access_token"], kept["refresh_token"]):
        assert len(secret) > 20
        assert secret not in done.stdout + done.stderr
    assert done.stdout == ""
    assert stat.S_IMODE(home.file().stat().st_mode) == 0o600
    assert stat.S_IMODE(home.file().parent.stat().st_mode) == 0o700


def test_what_is_not_granted_is_said(home: Home) -> None:
    done = home.baton("login", "--scope", f"{SCOPE} delete:everything")

    assert done.returncode == 0, done.stderr
    assert "Not granted: delete:everything" in done.stderr.replace("offline_access ", "").replace(
        "openid ", ""
    )


def test_without_offline_access_it_says_when_the_sign_in_ends(home: Home) -> None:
    done = home.baton("login", "--scope", "openid read:builds")

    assert done.returncode == 0, done.stderr
    assert "no refresh token: the sign-in ends in 10 minutes" in done.stderr


def test_an_answer_of_somebody_else_changes_nothing(home: Home) -> None:
    with home.start("login", "--no-browser", "--scope", SCOPE) as login:
        url = login.wait_for(r"(http://\S+/auth\?\S+)")
        redirect = httpx.URL(url).params["redirect_uri"]

        for wrong in ("", "?code=x", "?code=x&state=y", "?error=access_denied&state=é"):
            answer = httpx.get(redirect + wrong)
            assert answer.status_code == 400
            assert "not the answer" in answer.text
        twice = httpx.get(f"{redirect}?state={httpx.URL(url).params['state']}&state=x&code=x")
        elsewhere = httpx.get(redirect.replace("/callback", "/"))
        renamed = httpx.get(redirect, headers={"Host": "evil.example"})
        assert (twice.status_code, elsewhere.status_code, renamed.status_code) == (400, 404, 404)
        page = browse(url)

        assert "You are signed in" in page.text
        assert login.wait() == 0
    assert home.kept()["access_token"]


def test_its_page_lets_nothing_in_and_the_port_is_the_one_asked_for(home: Home) -> None:
    with home.start("login", "--port", "0", "--no-browser") as login:
        login.wait_for(r"/auth\?")
        port = login.wait_for(r"127\.0\.0\.1%3A(\d+)%2Fcallback")
        taken = home.baton("login", "--port", port)
        page = httpx.get(f"http://127.0.0.1:{port}/callback")

    assert taken.returncode == 1
    assert "choose another --port" in taken.stderr
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            {"error": "x", "error_description": "<b>No</b>\x1b[2J", "iss": "right"},
            "refused: <b>No</b>",
        ),
        ({"error": "access_denied"}, "another request than ours"),
        ({"code": "stolen", "iss": "https://evil.example/"}, "another request than ours"),
        ({"code": "stolen"}, "another request than ours"),  # announced, and not there
        ({"code": "wrong", "iss": "right"}, "the issuer refused"),
        ({"iss": "right"}, "no code"),
    ],
)
def test_a_wrong_answer_ends_it_with_a_sentence_in_terminal_and_browser(
    home: Home, issuer: OidcProvider, answer: dict[str, str], says: str
) -> None:
    with home.start("login", "--no-browser") as login:
        asked = httpx.URL(login.wait_for(r"(http://\S+/auth\?\S+)")).params
        if answer.get("iss") == "right":
            answer = answer | {"iss": issuer.issuer}

        page = httpx.get(asked["redirect_uri"], params=answer | {"state": asked["state"]})

        assert login.wait() == 1
    assert says in login.said
    assert "\x1b" not in login.said
    assert "Not signed in" in page.text
    assert "<b>" not in page.text
    assert not home.config.exists()


def test_browsers_that_say_nothing_or_break_off_disturb_nobody(home: Home) -> None:
    with home.start("login", "--no-browser", "--scope", SCOPE) as login:
        url = login.wait_for(r"(http://\S+/auth\?\S+)")
        redirect = httpx.URL(httpx.URL(url).params["redirect_uri"])
        where = ("127.0.0.1", redirect.port or 0)
        with socket.create_connection(where), socket.create_connection(where) as cut_off:
            cut_off.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            cut_off.sendall(b"GET /callback HTTP/1.1\r\nHost:")
            cut_off.close()

            assert "You are signed in" in browse(url).text
            assert login.wait() == 0
    assert "Traceback" not in login.said
    assert "Exception" not in login.said


def test_ctrl_c_ends_the_wait(home: Home) -> None:
    with home.start("login", "--no-browser") as login:
        login.wait_for(r"/auth\?")
        login.interrupt()

        assert login.wait() == 130
    assert "Traceback" not in login.said


# ── with a code ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [["--device"], []])
def test_without_a_browser_a_code_is_entered_elsewhere(home: Home, options: list[str]) -> None:
    without = {"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    with home.start("login", *options, **without) as login:
        login.wait_for(r"/device\n")
        complete = login.wait_for(r"(http://\S+user_code=\S+)")
        code = re.search(r"user_code=(\S+)", complete)
        assert code and f"  {code[1]}\n" in login.said

        page = browse(complete)

        assert "Success" in page.text
        assert login.wait() == 0, login.said
    assert home.baton("list").returncode == 0


# ── what it does not do ───────────────────────────────────────────────────────────────────────


def test_the_token_goes_to_no_other_api(home: Home) -> None:
    home.login()
    port = home.env["BATON_API_URL"].rsplit(":", 1)[1]

    other = home.baton("list", "--api", f"http://localhost:{port}")

    assert other.returncode == 2
    assert f"not signed in to http://localhost:{port}: sign in with: baton login" in other.stderr


def test_an_api_under_another_name_and_one_in_the_clear_are_refused(home: Home) -> None:
    port = home.env["BATON_API_URL"].rsplit(":", 1)[1]

    other = home.baton("login", "--api", f"http://localhost:{port}")
    clear = home.baton("login", "--api", "http://api.example.com")

    assert (other.returncode, clear.returncode) == (1, 1)
    assert f"calls itself http://127.0.0.1:{port}" in other.stderr
    assert "tokens do not travel in the clear" in clear.stderr


def test_a_variable_comes_first_and_login_says_so(home: Home) -> None:
    done = home.baton("login", "--scope", SCOPE, BATON_TOKEN="x.y.z")

    assert "BATON_TOKEN is set and comes first" in done.stderr
    assert "(401)" in home.baton("list", BATON_TOKEN="x.y.z").stderr


# ── signing out ───────────────────────────────────────────────────────────────────────────────


def test_logout_forgets_the_tokens_and_revokes_them(home: Home, issuer: OidcProvider) -> None:
    home.login()
    refresh_token = home.kept()["refresh_token"]

    done = home.baton("logout")

    assert done.returncode == 0
    assert "revoked its tokens" in done.stderr
    assert not list(home.config.glob("tokens/*.json"))
    form = {
        "grant_type": "refresh_token", "client_id": "terminal", "refresh_token": refresh_token,
    }  # fmt: skip
    assert httpx.post(issuer.token_url, data=form).json()["error"] == "invalid_grant"
    assert "not signed in" in home.baton("logout").stderr


def test_logout_of_all_forgets_even_what_it_cannot_revoke(home: Home) -> None:
    home.login()
    gone = home.kept() | {"api": "https://gone.example", "issuer": "http://127.0.0.1:1/"}
    home.keep_also("https%3A%2F%2Fgone.example", gone)

    done = home.baton("logout", "--all")

    assert done.returncode == 1
    assert "https://gone.example, but its tokens are not revoked: cannot reach" in done.stderr
    assert not list(home.config.glob("tokens/*.json"))
