"""Staying signed in: the embedded issuer's refresh tokens, and how they end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.issuer.application import create_issuer
from app.issuer.claims import SignIn
from app.issuer.errors import OAuthError
from app.issuer.refresh import RefreshTokens
from app.tokens.errors import TokenError
from tests.support.providers.tenant import (
    AUDIENCE,
    SCOPE,
    SECRET,
    assert_refused,
    config,
    verified,
    verifying,
)
from tests.support.servers.serving import serve
from tests.support.signing_in.code_flow import user_tokens
from tests.support.signing_in.device import decide, review

OFFLINE = "openid profile email offline_access read:builds create:builds update:builds"
SIGN_IN = SignIn(
    user_id="auth0|ann", name="ann", client_id="baton-cli", scopes=["read:builds"], nonce=None
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Its `iss`, which ends with a slash. An answer that is lost is not given again."""
    with serve(lambda url: create_issuer(config(url, refresh_leeway=0))) as url:
        yield f"{url}/"


def sign_in(
    http: httpx.Client, scope: str = OFFLINE, client_id: str = "baton-cli"
) -> dict[str, Any]:
    issuer = str(http.base_url)
    return user_tokens(issuer, user="ann", scope=scope, audience=AUDIENCE, client_id=client_id)


def refresh(http: httpx.Client, token: str, **changed: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": "baton-cli", "refresh_token": token}
    return http.post("/oauth/token", data=form | changed)


def revoke(http: httpx.Client, token: str, /, **changed: str) -> httpx.Response:
    form = {"client_id": "baton-cli", "token": token}
    return http.post("/oauth/revoke", data=form | changed)


# ── who gets one ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("client_id", ["baton-cli", "baton-spa"])
async def test_a_refresh_token_brings_tokens_of_the_same_user(
    issuer: str, http: httpx.Client, client_id: str
) -> None:
    first = sign_in(http, client_id=client_id)
    assert first["scope"] == OFFLINE

    answer = refresh(http, first["refresh_token"], client_id=client_id)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    second = answer.json()
    assert second["token_type"] == "Bearer"
    assert second["scope"] == OFFLINE
    assert second["refresh_token"] != first["refresh_token"]
    assert verified(http, second["id_token"], client_id)["sub"] == "auth0|ann"
    claims = verified(http, second["access_token"], AUDIENCE)
    assert claims.pop("exp") - claims.pop("iat") == second["expires_in"]
    assert claims == {
        "iss": issuer,
        "sub": "auth0|ann",
        "aud": [AUDIENCE, f"{issuer}userinfo"],
        "azp": client_id,
        "scope": OFFLINE,
    }
    async with verifying(issuer) as verifier:
        assert (await verifier.user(second["access_token"])).user_id == "auth0|ann"
        with pytest.raises(TokenError):
            await verifier.build(second["access_token"])


def test_it_comes_with_offline_access_alone(http: httpx.Client) -> None:
    assert "refresh_token" not in sign_in(http, SCOPE)
    assert "refresh_token" in sign_in(http, "offline_access")


def test_a_terminal_gets_one_by_its_device_code_too(http: httpx.Client) -> None:
    told = http.post(
        "/oauth/device/code",
        data={"client_id": "baton-cli", "audience": AUDIENCE, "scope": OFFLINE},
    ).json()
    decide(http, review(http, told["user_code"]))
    tokens = http.post(
        "/oauth/token",
        data={
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "client_id": "baton-cli",
            "device_code": told["device_code"],
        },
    ).json()
    renewed = refresh(http, tokens["refresh_token"]).json()
    assert verified(http, renewed["access_token"], AUDIENCE)["sub"] == "auth0|ann"


# ── what it brings ────────────────────────────────────────────────────────────────────────────


def test_the_scope_may_be_narrowed_for_one_access_token(http: httpx.Client) -> None:
    token = sign_in(http)["refresh_token"]
    narrow = refresh(http, token, scope="read:builds").json()
    assert narrow["scope"] == "read:builds"
    assert "id_token" not in narrow
    assert verified(http, narrow["access_token"], AUDIENCE)["scope"] == "read:builds"
    assert refresh(http, narrow["refresh_token"]).json()["scope"] == OFFLINE


@pytest.mark.parametrize("scope", ["update:builds", "read:builds update:builds", "admin"])
def test_the_scope_is_never_widened_and_asking_for_it_costs_nothing(
    http: httpx.Client, scope: str
) -> None:
    token = sign_in(http, "offline_access read:builds")["refresh_token"]
    assert_refused(refresh(http, token, scope=scope), 400, "invalid_scope")
    assert refresh(http, token).status_code == 200


# ── how it ends ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("used_again", [0, 1])
def test_a_token_used_again_ends_the_sign_in(
    http: httpx.Client, caplog: pytest.LogCaptureFixture, used_again: int
) -> None:
    tokens = [sign_in(http)["refresh_token"]]
    for _ in range(2):
        tokens.append(refresh(http, tokens[-1]).json()["refresh_token"])
    assert_refused(refresh(http, tokens[used_again]), 400, "invalid_grant")
    assert_refused(refresh(http, tokens[-1]), 400, "invalid_grant")
    [warning] = [r for r in caplog.records if "used again" in r.getMessage()]
    assert warning.__dict__["user_id"] == "auth0|ann"
    assert not any(token in caplog.text for token in tokens)


def test_other_sign_ins_of_the_user_go_on(http: httpx.Client) -> None:
    stolen, other = (sign_in(http)["refresh_token"] for _ in range(2))
    refresh(http, stolen)
    assert_refused(refresh(http, stolen), 400, "invalid_grant")
    assert refresh(http, other).status_code == 200


def test_an_answer_that_was_lost_is_given_once_more() -> None:
    with (
        serve(lambda url: create_issuer(config(url))) as url,
        httpx.Client(base_url=f"{url}/", trust_env=False) as http,
    ):
        first = sign_in(http)["refresh_token"]
        lost, again = (refresh(http, first).json()["refresh_token"] for _ in range(2))
        assert lost == again
        third = refresh(http, again).json()["refresh_token"]
        assert_refused(refresh(http, first), 400, "invalid_grant")
        assert_refused(refresh(http, third), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_id": "baton-spa"}, 400, "invalid_grant"),
        ({"client_id": "baton-api", "client_secret": SECRET}, 400, "unauthorized_client"),
        ({"client_id": "somebody"}, 401, "invalid_client"),
        ({"client_secret": "any"}, 401, "invalid_client"),
    ],
)
def test_it_is_its_clients_alone_and_another_cannot_end_it(
    http: httpx.Client, changed: dict[str, str], status: int, error: str
) -> None:
    token = sign_in(http)["refresh_token"]
    assert_refused(refresh(http, token, **changed), status, error)
    assert refresh(http, token).status_code == 200


@pytest.mark.parametrize("token", ["x", "x.y", ".", "a.b.c", "é"])
def test_a_made_up_token_is_refused(http: httpx.Client, token: str) -> None:
    assert_refused(refresh(http, token), 400, "invalid_grant")
    assert_refused(refresh(http, ""), 400, "invalid_request")


def test_a_restart_forgets_them_and_people_sign_in_again(tmp_path: Path) -> None:
    tokens: dict[str, Any] = {}
    for run in ("before", "after"):
        with (
            serve(lambda url: create_issuer(config(url, key_dir=tmp_path / "keys"))) as url,
            httpx.Client(base_url=f"{url}/", trust_env=False) as http,
        ):
            if run == "after":
                assert_refused(refresh(http, tokens["refresh_token"]), 400, "invalid_grant")
                verified(http, tokens["access_token"], AUDIENCE)
            tokens = sign_in(http)
            assert refresh(http, tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("uses", "good_at", "bad_at"),
    [
        ([], 99, 100),  # idle
        ([90, 180], 279, 280),
        ([90, 180, 270], 299, 300),  # in all
    ],
)
def test_its_life_is_bounded_used_or_not(uses: list[float], good_at: float, bad_at: float) -> None:
    now = 0.0
    tokens = RefreshTokens(lifetime=300, idle=100, leeway=0, clock=lambda: now)
    token = tokens.issue(SIGN_IN)
    for now in uses:  # noqa: B007  read by the clock
        tokens.sign_in(token, "baton-cli")
        token = tokens.rotate(token)
    now = good_at
    assert tokens.sign_in(token, "baton-cli") is SIGN_IN
    now = bad_at
    with pytest.raises(OAuthError):
        tokens.sign_in(token, "baton-cli")
    with pytest.raises(OAuthError):
        tokens.rotate(token)


def test_the_leeway_ends() -> None:
    now = 0.0
    tokens = RefreshTokens(lifetime=300, idle=100, leeway=10, clock=lambda: now)
    first = tokens.issue(SIGN_IN)
    second = tokens.rotate(first)
    now = 9.9
    tokens.sign_in(first, "baton-cli")
    assert tokens.rotate(first) == second
    now = 10.0  # the repeat has not made it longer
    with pytest.raises(OAuthError):
        tokens.sign_in(first, "baton-cli")
    with pytest.raises(OAuthError):
        tokens.sign_in(second, "baton-cli")


def test_those_that_are_kept_are_bounded_and_the_longest_idle_goes() -> None:
    tokens = RefreshTokens(lifetime=300, idle=100, leeway=0, capacity=2)
    first, second = tokens.issue(SIGN_IN), tokens.issue(SIGN_IN)
    first = tokens.rotate(first)
    third = tokens.issue(SIGN_IN)
    for token in (first, third):
        assert tokens.sign_in(token, "baton-cli") is SIGN_IN
    with pytest.raises(OAuthError):
        tokens.sign_in(second, "baton-cli")


# ── given back ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "refresh_token"}])
def test_a_revoked_token_is_worth_nothing(http: httpx.Client, hint: dict[str, str]) -> None:
    token = sign_in(http)["refresh_token"]
    for _ in range(2):  # a second time is as good
        answer = revoke(http, token, **hint)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["cache-control"] == "no-store"
        assert_refused(refresh(http, token), 400, "invalid_grant")


def test_an_old_token_may_be_given_back_for_all_that_followed(http: httpx.Client) -> None:
    first = sign_in(http)["refresh_token"]
    second = refresh(http, first).json()["refresh_token"]
    assert revoke(http, first).status_code == 200
    assert_refused(refresh(http, second), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_id": "baton-spa"}, 400, "invalid_grant"),
        ({"client_id": "somebody"}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"token": ""}, 400, "invalid_request"),
        ({"token": "a.b.c"}, 400, "unsupported_token_type"),
    ],
)
def test_a_revocation_may_be_refused(
    http: httpx.Client, changed: dict[str, str], status: int, error: str
) -> None:
    token = sign_in(http)["refresh_token"]
    assert_refused(revoke(http, token, **changed), status, error)
    assert refresh(http, token).status_code == 200


@pytest.mark.parametrize("token", ["x", "x.y"])
def test_an_unknown_token_is_as_good_as_revoked(http: httpx.Client, token: str) -> None:
    assert revoke(http, token).status_code == 200
