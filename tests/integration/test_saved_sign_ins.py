"""The sign-in that is kept: renewed in time, by one of many, and never for others to read."""

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.providers.oidc_provider import OidcProvider
from tests.support.servers.serving import serve
from tests.support.signing_in.terminal import Home, api_of, provider
from tests.support.stack import Stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

LIFETIME = 10  #: seconds of an access token


@pytest.fixture(scope="module")
def issuer() -> Iterator[OidcProvider]:
    with provider(lifetime=LIFETIME) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def api(issuer: OidcProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with api_of(issuer, tmp_path_factory.mktemp("api")) as stack:
        stack.worker()
        yield stack


@pytest.fixture
def home(api: Stack, tmp_path: Path) -> Home:
    home = Home(tmp_path, api.api_url)
    home.login()
    return home


# ── renewed ───────────────────────────────────────────────────────────────────────────────────


def test_a_token_near_its_end_is_renewed_and_so_is_what_renews_it(home: Home) -> None:
    old = home.kept()
    home.change(renew_at=0)

    listed = home.baton("list")

    assert (listed.returncode, listed.stderr) == (0, "")
    new = home.kept()
    assert new["access_token"] != old["access_token"]
    assert new["refresh_token"] != old["refresh_token"]
    assert new["expires_at"] > old["expires_at"]
    assert stat.S_IMODE(home.file().stat().st_mode) == 0o600


def test_a_token_that_the_api_refuses_is_renewed_once(home: Home, issuer: OidcProvider) -> None:
    home.change(access_token="no.longer.good", renew_at=None)
    before = issuer.asked()["token"]

    assert home.baton("list").returncode == 0

    assert issuer.asked()["token"] == before + 1
    assert home.kept()["access_token"] != "no.longer.good"


def test_of_commands_at_the_same_time_one_renews_and_none_is_signed_out(
    home: Home, issuer: OidcProvider
) -> None:
    home.change(renew_at=0, expires_at=0)
    before = issuer.asked()["token"]

    started = [home.start("list") for _ in range(6)]

    assert [each.wait() for each in started] == [0] * 6, [each.said for each in started]
    # On a machine so slow that a whole life passes meanwhile, a second one.
    assert issuer.asked()["token"] - before in {1, 2}
    assert home.baton("list").returncode == 0


def test_a_follower_outlives_its_token_without_a_gap_or_a_repeat(
    home: Home, issuer: OidcProvider
) -> None:
    before = issuer.asked()["token"]
    script = f"for i in $(seq {4 * LIFETIME}); do echo tick $i; sleep 0.5; done"

    done = home.baton("submit", "--follow", "--run", script)

    assert done.returncode == 0, done.stderr
    ticks = [line for line in done.stdout.splitlines() if line.startswith("tick")]
    assert ticks == [f"tick {n + 1}" for n in range(4 * LIFETIME)]
    assert issuer.asked()["token"] >= before + 2
    assert "sign" not in done.stderr


def test_ctrl_c_in_the_middle_of_a_renewal_does_not_lose_what_it_gives(home: Home) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def token(_: Request) -> JSONResponse:
        asked.set()
        go_on.wait(20)
        return JSONResponse(
            {"access_token": "a.b.c", "token_type": "Bearer", "refresh_token": "the next one"}
        )

    with serve(Starlette(routes=[Route("/token", token, methods=["POST"])])) as url:
        home.change(renew_at=0, expires_at=0, token_endpoint=f"{url}/token")
        with home.start("list") as command:
            assert asked.wait(20)
            command.interrupt()
            go_on.set()

            assert command.wait() == 130
    assert home.kept()["refresh_token"] == "the next one"


# ── not renewed ───────────────────────────────────────────────────────────────────────────────


def test_when_the_issuer_renews_no_more_a_sentence_says_to_sign_in_again(home: Home) -> None:
    home.change(refresh_token="void", renew_at=0, expires_at=0)

    done = home.baton("list")

    assert done.returncode == 1
    assert f"baton: the sign-in to {home.env['BATON_API_URL']} has ended" in done.stderr
    assert done.stderr.endswith(f"sign in with: baton login --api {home.env['BATON_API_URL']}\n")
    assert "void" not in done.stderr


def test_without_anything_to_renew_it_by_a_sign_in_ends_with_its_token(home: Home) -> None:
    home.change(refresh_token=None, access_token="no.longer.good", renew_at=None)

    done = home.baton("list")

    assert done.returncode == 1
    assert "has ended; sign in with: baton login" in done.stderr


def test_while_the_issuer_is_away_a_good_token_goes_on_and_an_old_one_is_a_sentence(
    home: Home,
) -> None:
    nowhere = "http://127.0.0.1:1/token"
    home.login()
    home.change(renew_at=0, expires_at=4_000_000_000, token_endpoint=nowhere)
    assert home.baton("list").returncode == 0

    home.change(renew_at=0, expires_at=0, token_endpoint=nowhere)
    done = home.baton("list")

    assert done.returncode == 1
    assert "cannot be renewed: cannot reach http://127.0.0.1:1/token" in done.stderr


def test_a_refresh_token_is_not_sent_in_the_clear(home: Home) -> None:
    home.change(renew_at=0, expires_at=0, token_endpoint="http://issuer.example/token")

    done = home.baton("list")

    assert done.returncode == 1
    assert "tokens do not travel in the clear" in done.stderr


def test_signing_out_ends_a_follower_with_a_sentence(home: Home) -> None:
    with home.start("submit", "--follow", "--run", "echo begun; sleep 60") as follower:
        follower.wait_for("\nbegun\n")
        build = follower.wait_for(r"(bld_\w+)")

        assert home.baton("logout").returncode == 0

        assert follower.wait() == 1
        assert "signed out of" in follower.said
        home.login()
        assert home.baton("cancel", build).returncode == 0


# ── the file ──────────────────────────────────────────────────────────────────────────────────


def test_what_others_can_read_is_not_used(home: Home) -> None:
    home.file().chmod(0o644)
    readable = home.baton("list")
    home.file().chmod(0o600)
    home.file().parent.chmod(0o755)
    listed = home.baton("list")
    home.file().parent.chmod(0o700)

    for done, mode in ((readable, "600"), (listed, "700")):
        assert done.returncode == 1
        assert f"run `chmod {mode} {home.config}/tokens" in done.stderr
    assert home.baton("list").returncode == 0


def test_a_link_and_a_damaged_file_are_sentences(home: Home) -> None:
    path, text = home.file(), home.file().read_text()
    path.write_text(text[: len(text) // 2])
    damaged = home.baton("list")
    path.unlink()
    path.symlink_to("/etc/hostname")
    linked = home.baton("list")

    assert (damaged.returncode, linked.returncode) == (1, 1)
    assert "is damaged: remove it, and run `baton login`" in damaged.stderr
    assert "cannot read" in linked.stderr
    assert "eyJ" not in damaged.stderr


def test_the_files_of_two_apis_do_not_mix(home: Home) -> None:
    other = "https://other.example"
    home.keep_also("https%3A%2F%2Fother.example", home.kept())  # it says whose it is

    done = home.baton("list", "--api", other)

    assert done.returncode == 2
    assert f"not signed in to {other}" in done.stderr


def test_logins_are_found_where_the_desktop_keeps_such_things(home: Home, tmp_path: Path) -> None:
    xdg = {"BATON_CONFIG_DIR": "", "XDG_CONFIG_HOME": str(tmp_path / "xdg")}

    done = home.baton("login", **xdg)

    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "xdg" / "baton" / "tokens").glob("*.json"))
    wait_until("it is used", lambda: home.baton("list", **xdg).returncode == 0)
