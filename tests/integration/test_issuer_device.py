"""Signing in a terminal by a code that is typed elsewhere (RFC 8628), at the embedded issuer."""

import re
from typing import Any

import httpx
import pytest

from app.issuer.application import create_issuer
from app.issuer.devices import Devices
from app.issuer.errors import OAuthError
from app.issuer.throttle import LIMIT, Throttle
from app.issuer.user_name import User
from app.tokens.errors import TokenError
from tests.support.providers.tenant import (
    AUDIENCE,
    MINT_AUDIENCE,
    SCOPE,
    assert_refused,
    config,
    verified,
    verifying,
)
from tests.support.servers.serving import serve
from tests.support.signing_in.code_flow import transaction_of
from tests.support.signing_in.device import decide, review

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ANN = User(user_id="auth0|ann", name="ann")


def begin(http: httpx.Client, **changed: str | None) -> httpx.Response:
    """A device authorization request in order, but for `changed`; None takes a parameter away."""
    form = {"client_id": "baton-cli", "audience": AUDIENCE, "scope": SCOPE} | changed
    return http.post(
        "/oauth/device/code", data={name: value for name, value in form.items() if value}
    )


def poll(http: httpx.Client, device_code: str, client_id: str = "baton-cli") -> httpx.Response:
    form = {"grant_type": GRANT, "client_id": client_id, "device_code": device_code}
    return http.post("/oauth/token", data=form)


def test_a_terminal_is_told_its_codes_and_where_to_type_one(
    issuer: str, http: httpx.Client
) -> None:
    answer = begin(http)
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", told["user_code"])
    assert len(told.pop("device_code")) >= 43
    assert told == {
        "user_code": told["user_code"],
        "verification_uri": f"{issuer}activate",
        "verification_uri_complete": f"{issuer}activate?user_code={told['user_code']}",
        "expires_in": 900,
        "interval": 5,
    }


async def test_who_allows_it_is_whom_its_token_is_of(issuer: str, http: httpx.Client) -> None:
    told = begin(http, scope=f"{SCOPE} admin").json()
    assert decide(http, review(http, told["user_code"])).status_code == 200

    answer = poll(http, told["device_code"])

    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert tokens["scope"] == SCOPE
    assert "refresh_token" not in tokens
    assert verified(http, tokens["id_token"], "baton-cli")["sub"] == "auth0|ann"
    claims = verified(http, tokens["access_token"], AUDIENCE)
    assert claims.pop("exp") - claims.pop("iat") == tokens["expires_in"] == 24 * 3600
    assert claims == {
        "iss": issuer,
        "sub": "auth0|ann",
        "aud": [AUDIENCE, f"{issuer}userinfo"],
        "azp": "baton-cli",
        "scope": SCOPE,
    }
    async with verifying(issuer) as verifier:
        assert (await verifier.user(tokens["access_token"])).user_id == "auth0|ann"
        with pytest.raises(TokenError):
            await verifier.build(tokens["access_token"])


def test_the_page_shows_who_asks_for_what(http: httpx.Client) -> None:
    told = begin(http).json()
    page = http.get(told["verification_uri_complete"])
    assert page.status_code == 200
    for shown in (told["user_code"], "baton-cli", SCOPE):
        assert shown in page.text


def test_until_somebody_answers_the_terminal_waits_and_is_slowed_down(http: httpx.Client) -> None:
    code = begin(http).json()["device_code"]
    assert_refused(poll(http, code), 400, "authorization_pending")
    assert_refused(poll(http, code), 400, "slow_down")


def test_an_impatient_terminal_has_to_wait_five_seconds_longer_each_time() -> None:
    now = 0.0
    devices = Devices(lifetime=900, interval=5, clock=lambda: now)
    code, user_code = devices.add("baton-cli", ["openid"])

    def asked_at(moment: float) -> str:
        nonlocal now
        now = moment
        with pytest.raises(OAuthError) as error:
            devices.redeem(code, "baton-cli")
        return str(error.value.code)

    assert asked_at(0) == "authorization_pending"
    assert asked_at(4.9) == "slow_down"
    assert asked_at(14.8) == "slow_down"  # 10 seconds now, and it is asked at once
    assert asked_at(29.8) == "authorization_pending"
    device = devices.waiting(user_code)
    assert device
    assert devices.decide(device, ANN)
    assert devices.redeem(code, "baton-cli") == (ANN, ["openid"])


def test_a_device_code_works_once(http: httpx.Client) -> None:
    told = begin(http).json()
    decide(http, review(http, told["user_code"]))
    assert poll(http, told["device_code"]).status_code == 200
    assert_refused(poll(http, told["device_code"]), 400, "invalid_grant")


def test_a_device_code_is_its_clients_alone(http: httpx.Client) -> None:
    told = begin(http).json()
    decide(http, review(http, told["user_code"]))
    assert_refused(poll(http, told["device_code"], "baton-spa"), 400, "unauthorized_client")
    assert poll(http, told["device_code"]).status_code == 200
    devices = Devices(lifetime=900, interval=5)
    code, _ = devices.add("baton-cli", [])
    with pytest.raises(OAuthError, match="unknown"):
        devices.redeem(code, "another")


@pytest.mark.parametrize("code", ["x", "BCDF-GHJK"])
def test_a_made_up_device_code_is_refused(http: httpx.Client, code: str) -> None:
    assert_refused(poll(http, code), 400, "invalid_grant")
    assert_refused(poll(http, ""), 400, "invalid_request")


def test_a_denied_terminal_is_told_so_and_the_code_is_gone(http: httpx.Client) -> None:
    told = begin(http).json()
    answer = decide(http, review(http, told["user_code"]), user="", decision="deny")
    assert answer.status_code == 200
    assert "Denied" in answer.text
    assert_refused(poll(http, told["device_code"]), 400, "access_denied")
    assert_refused(poll(http, told["device_code"]), 400, "invalid_grant")


def test_a_device_code_expires() -> None:
    with (
        serve(lambda url: create_issuer(config(url, device_lifetime=0))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        told = begin(http).json()
        assert review(http, told["user_code"]).status_code == 400
        assert_refused(poll(http, told["device_code"]), 400, "expired_token")


@pytest.mark.parametrize(("allowed_at", "in_time"), [(899, True), (900, False)])
def test_a_code_is_too_old_at_its_end_allowed_or_not(allowed_at: float, in_time: bool) -> None:
    now = 0.0
    devices = Devices(lifetime=900, interval=5, clock=lambda: now)
    code, user_code = devices.add("baton-cli", [])
    device = devices.waiting(user_code)
    assert device
    now = allowed_at
    assert devices.decide(device, ANN) is in_time
    now = 900.0
    with pytest.raises(OAuthError) as error:
        devices.redeem(code, "baton-cli")
    assert error.value.code == "expired_token"


def test_terminals_that_wait_are_bounded() -> None:
    devices = Devices(lifetime=900, interval=5, capacity=2)
    told = [devices.add("baton-cli", []) for _ in range(3)]
    assert devices.waiting(told[0][1]) is None
    assert all(devices.waiting(user_code) for _, user_code in told[1:])
    with pytest.raises(OAuthError) as error:
        devices.redeem(told[0][0], "baton-cli")
    assert error.value.code == "invalid_grant"


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_id": "somebody"}, 401, "invalid_client"),
        ({"client_id": "baton-api"}, 401, "invalid_client"),
        ({"client_id": "baton-spa"}, 400, "unauthorized_client"),
        ({"client_secret": "any"}, 401, "invalid_client"),
        ({"audience": None}, 400, "invalid_request"),
        ({"audience": MINT_AUDIENCE}, 403, "access_denied"),
        ({"audience": "https://other.example.com/"}, 403, "access_denied"),
    ],
)
def test_a_device_authorization_request_may_be_refused(
    http: httpx.Client, changed: dict[str, Any], status: int, error: str
) -> None:
    assert_refused(begin(http, **changed), status, error)


# ── the page ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spelling", ["{}", " {} ", "blank", "lower", "plain"])
def test_a_code_may_be_typed_in_any_way(http: httpx.Client, spelling: str) -> None:
    code = begin(http).json()["user_code"]
    typed = {
        "lower": code.lower(),
        "plain": code.replace("-", ""),
        "blank": code.replace("-", " "),
    }.get(spelling, spelling.format(code))
    assert code in review(http, typed).text


def test_the_page_asks_for_a_code_and_says_what_is_wrong_with_one() -> None:
    with (
        serve(lambda url: create_issuer(config(url))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        assert 'name="user_code" value=""' in http.get("/activate").text
        for typed in ("BCDF-GHJK", '"><script>alert(1)</script>', "BCDF-GHJKL", "é"):
            answer = review(http, typed)
            assert answer.status_code == 400
            assert 'role="alert"' in answer.text
            assert "<script" not in answer.text
            assert 'name="username"' not in answer.text


def test_guesses_are_limited_even_for_a_right_code() -> None:
    with (
        serve(lambda url: create_issuer(config(url))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        code = begin(http).json()["user_code"]
        for _ in range(LIMIT):
            assert review(http, code).status_code == 200
        for _ in range(LIMIT):
            assert review(http, "BBBB-BBBB").status_code == 400
        answer = review(http, code)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert 'name="transaction"' not in answer.text


def test_after_a_while_another_guess_may_be_made() -> None:
    now = 0.0
    throttle = Throttle(limit=2, window=60, clock=lambda: now)
    throttle.count_wrong()
    now = 30.0
    throttle.count_wrong()
    assert throttle.wait() == 30
    now = 60.0
    assert throttle.wait() == 0
    throttle.count_wrong()
    assert throttle.wait() == 30


@pytest.mark.parametrize("path", ["/activate", "/activate?user_code={}"])
def test_the_page_trusts_nothing_from_outside(http: httpx.Client, path: str) -> None:
    page = http.get(path.format(begin(http).json()["user_code"]))
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self';" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"(src|href)=", page.text)


def test_a_form_on_another_site_allows_nothing(http: httpx.Client) -> None:
    told = begin(http).json()
    form = {
        "transaction": transaction_of(review(http, told["user_code"])),
        "username": "eve",
        "decision": "allow",
    }
    for site in ("cross-site", "same-site"):
        answer = http.post("/activate", data=form, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
    assert_refused(poll(http, told["device_code"]), 400, "authorization_pending")


@pytest.mark.parametrize("username", ["", "ann smith", "|ann", "<b>"])
def test_a_wrong_user_name_may_be_corrected(http: httpx.Client, username: str) -> None:
    told = begin(http).json()
    again = decide(http, review(http, told["user_code"]), user=username)
    assert again.status_code == 400
    assert "<b>" not in again.text
    assert "A user name has" in again.text
    assert decide(http, again).status_code == 200
    assert poll(http, told["device_code"]).status_code == 200


def test_a_decision_is_made_once(http: httpx.Client) -> None:
    told = begin(http).json()
    pages = [review(http, told["user_code"]) for _ in range(2)]
    assert decide(http, pages[0]).status_code == 200
    for page in pages:
        late = decide(http, page, user="eve", decision="deny")
        assert late.status_code == 400
        assert "begin again" in late.text
    token = poll(http, told["device_code"]).json()["access_token"]
    assert verified(http, token, AUDIENCE)["sub"] == "auth0|ann"


@pytest.mark.parametrize(
    "changed",
    [{"transaction": ""}, {"transaction": "x"}, {"decision": ""}, {"decision": "perhaps"}],
)
def test_a_form_that_is_not_the_pages_decides_nothing(
    http: httpx.Client, changed: dict[str, str]
) -> None:
    told = begin(http).json()
    form = {
        "transaction": transaction_of(review(http, told["user_code"])),
        "username": "ann",
        "decision": "allow",
    }
    assert http.post("/activate", data=form | changed).status_code == 400
    assert_refused(poll(http, told["device_code"]), 400, "authorization_pending")


@pytest.mark.parametrize(
    ("query", "status"),
    [("user_code=A&user_code=B", 400), ("user_code=%ff", 400), ("x=" + "y" * 9000, 414)],
)
def test_a_query_that_is_no_request_is_refused(http: httpx.Client, query: str, status: int) -> None:
    assert http.get(f"/activate?{query}").status_code == status
