"""Signing in at the embedded issuer: what applications and browsers get from it."""

import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.issuer.application import create_issuer
from app.issuer.clients import may_redirect
from tests.support.providers.tenant import (
    AUDIENCE,
    MINT_AUDIENCE,
    SCOPE,
    assert_refused,
    config,
    mint,
    verified,
)
from tests.support.servers.serving import serve
from tests.support.signing_in.code_flow import (
    REDIRECT_URI,
    answer_in,
    challenge_of,
    transaction_of,
    user_token,
)

VERIFIER = "v" * 43


def authorize(http: httpx.Client, **changed: str | None) -> httpx.Response:
    """An authorization request in order, but for `changed`; None takes a parameter away."""
    parameters = {
        "response_type": "code",
        "client_id": "baton-spa",
        "redirect_uri": REDIRECT_URI,
        "audience": AUDIENCE,
        "scope": SCOPE,
        "state": "the-state",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    } | changed
    return http.get(
        "/authorize",
        params={name: value for name, value in parameters.items() if value is not None},
    )


def sign_in(http: httpx.Client, page: httpx.Response, username: str = "ann") -> httpx.Response:
    form = {"transaction": transaction_of(page), "username": username}
    return http.post("/authorize", data=form)


def code_for(http: httpx.Client, **changed: str | None) -> str:
    return answer_in(sign_in(http, authorize(http, **changed)))["code"]


def redeem(http: httpx.Client, **changed: str) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "baton-spa",
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
    }
    return http.post("/oauth/token", data=form | changed)


def test_a_user_token_says_what_auth0s_says(issuer: str, http: httpx.Client) -> None:
    token = user_token(issuer, user="ann", scope=f"{SCOPE} delete:all", audience=AUDIENCE)
    claims = verified(http, token, AUDIENCE)
    issued, expires = claims.pop("iat"), claims.pop("exp")
    assert expires - issued == 24 * 3600
    assert claims == {
        "iss": issuer,
        "sub": "auth0|ann",
        "aud": [AUDIENCE, f"{issuer}userinfo"],
        "azp": "baton-spa",
        "scope": SCOPE,
    }


def test_the_scope_is_what_was_asked_for_and_no_more(issuer: str, http: httpx.Client) -> None:
    token = user_token(issuer, user="ann", scope="read:builds admin", audience=AUDIENCE)
    assert verified(http, token, AUDIENCE)["scope"] == "read:builds"


@pytest.mark.parametrize(
    ("username", "subject"),
    [
        ("ann", "auth0|ann"),
        ("ann@example.com", "auth0|ann@example.com"),
        (" ann ", "auth0|ann"),
        ("google-oauth2|1234", "google-oauth2|1234"),
        ("samlp|corp|ann@example.com", "samlp|corp|ann@example.com"),
        ("baton-api@clients", "auth0|baton-api@clients"),
    ],
)
def test_a_user_name_becomes_a_user_id(http: httpx.Client, username: str, subject: str) -> None:
    redirect = sign_in(http, authorize(http), username)
    token = redeem(http, code=answer_in(redirect)["code"]).json()["access_token"]
    assert verified(http, token, AUDIENCE)["sub"] == subject


@pytest.mark.parametrize("username", ["", "ann smith", "änn", "a" * 65, "|ann", "<b>", "a\nb"])
def test_a_wrong_user_name_may_be_corrected(http: httpx.Client, username: str) -> None:
    page = authorize(http)
    again = sign_in(http, page, username)
    assert again.status_code == 400
    assert "<b>" not in again.text
    assert "A user name has" in again.text
    assert transaction_of(again) == transaction_of(page)
    assert sign_in(http, again).status_code == 302


def test_an_id_token_comes_with_openid_and_for_the_application(
    issuer: str, http: httpx.Client
) -> None:
    page = authorize(http, nonce="n-0S6", scope="openid profile email")
    answer = redeem(http, code=answer_in(sign_in(http, page, "ann@example.com"))["code"]).json()
    claims = verified(http, answer["id_token"], "baton-spa")
    assert claims["nonce"] == "n-0S6"
    assert claims["iss"] == issuer
    assert claims["sub"] == "auth0|ann@example.com"
    assert claims["email"] == "ann@example.com"
    assert "id_token" not in redeem(http, code=code_for(http, scope="read:builds")).json()


def test_the_answer_of_the_token_endpoint_is_not_kept(http: httpx.Client) -> None:
    answer = redeem(http, code=code_for(http))
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 24 * 3600
    assert body["scope"] == SCOPE


def test_a_code_works_once(http: httpx.Client) -> None:
    code = code_for(http)
    assert redeem(http, code=code).status_code == 200
    assert_refused(redeem(http, code=code), 400, "invalid_grant")


def test_a_code_is_gone_after_a_wrong_verifier(http: httpx.Client) -> None:
    code = code_for(http)
    assert_refused(redeem(http, code=code, code_verifier="w" * 43), 400, "invalid_grant")
    assert_refused(redeem(http, code=code), 400, "invalid_grant")


def test_a_code_expires() -> None:
    with (
        serve(lambda url: create_issuer(config(url, code_lifetime=0))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        assert_refused(redeem(http, code=code_for(http)), 400, "invalid_grant")


def test_a_login_expires() -> None:
    with (
        serve(lambda url: create_issuer(config(url, login_lifetime=0))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        answer = sign_in(http, authorize(http))
        assert answer.status_code == 400
        assert "begin again" in answer.text


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": "v" * 42},
        {"code_verifier": challenge_of(VERIFIER)},
        {"redirect_uri": "http://127.0.0.1:2/callback"},
        {"redirect_uri": "https://app.example.com/cb?kept=1"},
        {"code": "x"},
    ],
)
def test_a_code_is_bound_to_its_request(http: httpx.Client, changed: dict[str, str]) -> None:
    assert_refused(redeem(http, **{"code": code_for(http), **changed}), 400, "invalid_grant")


def test_a_verifier_that_can_be_guessed_is_refused(http: httpx.Client) -> None:
    code = code_for(http, code_challenge=challenge_of("short"))
    assert_refused(redeem(http, code=code, code_verifier="short"), 400, "invalid_grant")


@pytest.mark.parametrize("name", ["code", "code_verifier", "redirect_uri", "grant_type"])
def test_a_parameter_without_a_value_is_missing(http: httpx.Client, name: str) -> None:
    assert_refused(redeem(http, **{"code": code_for(http), name: ""}), 400, "invalid_request")


def test_a_login_answers_once(http: httpx.Client) -> None:
    page = authorize(http)
    assert sign_in(http, page).status_code == 302
    assert sign_in(http, page).status_code == 400


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": None},
        {"client_id": "somebody"},
        {"client_id": "baton-api"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example.com/cb"},
        {"redirect_uri": "https://app.example.com/cb"},
        {"redirect_uri": "https://app.example.com:8443/cb?kept=1"},
        {"redirect_uri": "https://app.example.com/cb?kept=1&more=1"},
        {"redirect_uri": "http://127.0.0.1:1/callback/"},
        {"redirect_uri": "http://127.0.0.1:1/callback#x"},
        {"redirect_uri": "https://127.0.0.1:1/callback"},
        {"redirect_uri": "http://localhost:1/callback"},
        {"redirect_uri": "http://127.0.0.1:1@evil.example.com/callback"},
        {"redirect_uri": "http://127.0.0.1:1\\@evil.example.com/callback"},
        {"redirect_uri": "http://127.0.0.1.evil.example.com/callback"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
def test_nothing_is_sent_to_a_redirect_uri_in_doubt(
    http: httpx.Client, changed: dict[str, str | None]
) -> None:
    answer = authorize(http, **changed)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "<form" not in answer.text


def test_the_terminal_has_a_redirect_uri_of_its_own_on_any_port(http: httpx.Client) -> None:
    spas = "https://app.example.com/cb?kept=1"
    assert authorize(http, client_id="baton-spa", redirect_uri=spas).status_code == 200
    assert authorize(http, client_id="baton-cli", redirect_uri=spas).status_code == 400
    own = "http://127.0.0.1:54321/callback"
    redirect = sign_in(http, authorize(http, client_id="baton-cli", redirect_uri=own))
    assert redirect.headers["location"].startswith(f"{own}?code=")
    code = answer_in(redirect)["code"]
    answer = redeem(http, code=code, client_id="baton-cli", redirect_uri=own)
    claims = verified(http, answer.json()["access_token"], AUDIENCE)
    assert (claims["sub"], claims["azp"]) == ("auth0|ann", "baton-cli")


def test_one_applications_code_is_nothing_to_another(http: httpx.Client) -> None:
    code = code_for(http, client_id="baton-cli")
    assert_refused(redeem(http, code=code, client_id="baton-spa"), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("registered", "asked", "allowed"),
    [
        ("http://127.0.0.1/cb", "http://127.0.0.1:5173/cb", True),
        ("http://127.0.0.1:80/cb", "http://127.0.0.1/cb", True),
        ("http://[::1]/cb", "http://[::1]:5173/cb", True),
        ("http://localhost/", "http://localhost:5173/", True),
        ("http://127.0.0.1", "http://127.0.0.1:5173", True),
        ("http://127.0.0.1", "http://127.0.0.1.evil.example.com", False),
        ("http://127.0.0.1", "http://127.0.0.1:1@evil.example.com", False),
        ("http://127.0.0.1/cb", "http://[::1]/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1/cb?x=1", False),
        ("https://app.example.com/cb", "https://app.example.com:444/cb", False),
        ("com.example.app:/cb", "com.example.app:/cb", True),
    ],
)
def test_only_the_port_on_loopback_is_free(registered: str, asked: str, allowed: bool) -> None:
    assert may_redirect(asked, [registered]) is allowed


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"audience": None}, "invalid_request"),
        ({"audience": MINT_AUDIENCE}, "access_denied"),
        ({"audience": "https://other.example.com/"}, "access_denied"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_other_errors_go_to_the_application_with_its_state(
    issuer: str, http: httpx.Client, changed: dict[str, str | None], error: str
) -> None:
    answer = authorize(http, **changed)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{REDIRECT_URI}?")
    said = answer_in(answer)
    assert said.pop("error_description")
    assert said == {"error": error, "state": "the-state", "iss": issuer}


def test_a_parameter_given_twice_is_an_error_and_its_state_is_not_echoed(
    http: httpx.Client,
) -> None:
    query = str(authorize(http).url.query, "ascii")
    said = answer_in(http.get(f"/authorize?{query}&state=other"))
    assert said["error"] == "invalid_request"
    assert "state" not in said
    assert http.get(f"/authorize?{query}&redirect_uri={REDIRECT_URI}").status_code == 400
    assert http.get(f"/authorize?{query}&client_id=baton-spa").status_code == 400


def test_a_redirect_uri_keeps_its_query_and_gets_code_state_and_issuer(
    issuer: str, http: httpx.Client
) -> None:
    state = "a b&c=d#é"
    page = authorize(http, redirect_uri="https://app.example.com/cb?kept=1", state=state)
    redirect = sign_in(http, page)
    assert redirect.headers["cache-control"] == "no-store"
    url = urlsplit(redirect.headers["location"])
    assert (url.scheme, url.netloc, url.path) == ("https", "app.example.com", "/cb")
    query = parse_qs(url.query)
    assert query.pop("code")
    assert query == {"kept": ["1"], "state": [state], "iss": [issuer]}


def test_the_login_page_trusts_nothing_from_outside(http: httpx.Client) -> None:
    page = authorize(http, login_hint='"><script>alert(1)</script>')
    assert "<script" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:1;" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"(src|href)=", page.text)


def test_a_form_on_another_site_signs_nobody_in(http: httpx.Client) -> None:
    form = {"transaction": transaction_of(authorize(http)), "username": "ann"}
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 302)):
        answer = http.post("/authorize", data=form, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status


def test_userinfo_says_who_a_user_token_is_of(issuer: str, http: httpx.Client) -> None:
    token = user_token(issuer, user="ann", scope=SCOPE, audience=AUDIENCE)
    answer = http.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"sub": "auth0|ann", "name": "ann", "nickname": "ann"}


@pytest.mark.parametrize("authorization", [None, "Bearer x", "Bearer a.b.c", "Basic eDp5"])
def test_userinfo_needs_a_user_token(http: httpx.Client, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = http.get("/userinfo", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_userinfo_refuses_a_build_token(http: httpx.Client) -> None:
    token = mint(http).json()["access_token"]
    assert http.get("/userinfo", headers={"Authorization": f"Bearer {token}"}).status_code == 401
