"""The embedded issuer on real HTTP: what applications, the API and browsers get from it."""

import base64
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from app.contract.scopes import DELEGATED
from app.issuer.application import create_issuer
from app.issuer.config import IssuerConfig
from app.issuer.pending import Pending
from app.tokens.errors import TokenError
from app.tokens.jwks import JwksCache
from app.tokens.verifier import Policy, TrustedIssuer, Verifier
from tests.serving import serve
from tests.sign_in import REDIRECT_URI, answer_in, challenge_of, transaction_of, user_token

AUDIENCE = "https://api.example.com/"
MINT_AUDIENCE = "https://builds.example.com/"
SECRET = "a secret with : and % and é"
NAMESPACE = "https://example.com/"
ORIGIN = "https://app.example.com"
BUILD = "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV"
SCOPE = "openid profile email read:builds create:builds update:builds"
VERIFIER = "v" * 43


def config(url: str, **changed: Any) -> IssuerConfig:
    settings: dict[str, Any] = {
        "issuer": f"{url}/",
        "audience": AUDIENCE,
        "mint_audience": MINT_AUDIENCE,
        "mint_client_id": "baton-api",
        "mint_client_secret": SECRET,
        "redirect_uris": ("http://127.0.0.1/callback", "https://app.example.com/cb?kept=1"),
        "allowed_origins": (ORIGIN,),
    }
    return IssuerConfig(**{**settings, **changed})


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Its `iss`, which ends with a slash."""
    with serve(lambda url: create_issuer(config(url))) as url:
        yield f"{url}/"


@pytest.fixture
def http(issuer: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=issuer, timeout=30, trust_env=False) as client:
        yield client


def verified(http: httpx.Client, token: str, audience: str) -> dict[str, Any]:
    """The claims of a token whose signature fits the published keys."""
    keys = jwt.PyJWKSet.from_dict(http.get("/.well-known/jwks.json").json())
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "RS256"
    assert header["typ"] == "JWT"
    payload: dict[str, Any] = jwt.decode(
        token, keys[header["kid"]], algorithms=["RS256"], audience=audience
    )
    return payload


def mint(http: httpx.Client, **changed: Any) -> httpx.Response:
    """A token request as the API sends it; None takes a member away."""
    members = {
        "grant_type": "client_credentials",
        "client_id": "baton-api",
        "client_secret": SECRET,
        "audience": MINT_AUDIENCE,
        "user_id": "auth0|ann",
        "build_id": BUILD,
    } | changed
    return http.post(
        "/oauth/token", json={name: value for name, value in members.items() if value is not None}
    )


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


def redeem(http: httpx.Client, code: str, **changed: str) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "baton-spa",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": VERIFIER,
    }
    return http.post("/oauth/token", data=form | changed)


def assert_refused(answer: httpx.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json()["error_description"]
    assert answer.headers["cache-control"] == "no-store"


# ── users ─────────────────────────────────────────────────────────────────────────────────────


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
    token = redeem(http, answer_in(redirect)["code"]).json()["access_token"]
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
    answer = redeem(http, answer_in(sign_in(http, page, "ann@example.com"))["code"]).json()
    claims = verified(http, answer["id_token"], "baton-spa")
    assert claims["nonce"] == "n-0S6"
    assert claims["iss"] == issuer
    assert claims["sub"] == "auth0|ann@example.com"
    assert claims["email"] == "ann@example.com"
    assert "id_token" not in redeem(http, code_for(http, scope="read:builds")).json()


def test_the_answer_of_the_token_endpoint_is_not_kept(http: httpx.Client) -> None:
    answer = redeem(http, code_for(http))
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 24 * 3600
    assert body["scope"] == SCOPE


def test_a_code_works_once(http: httpx.Client) -> None:
    code = code_for(http)
    assert redeem(http, code).status_code == 200
    assert_refused(redeem(http, code), 400, "invalid_grant")


def test_a_code_is_gone_after_a_wrong_verifier(http: httpx.Client) -> None:
    code = code_for(http)
    assert_refused(redeem(http, code, code_verifier="w" * 43), 400, "invalid_grant")
    assert_refused(redeem(http, code), 400, "invalid_grant")


def test_a_code_expires() -> None:
    with (
        serve(lambda url: create_issuer(config(url, code_lifetime=0))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        assert_refused(redeem(http, code_for(http)), 400, "invalid_grant")


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
    assert_refused(redeem(http, code_for(http), **changed), 400, "invalid_grant")


@pytest.mark.parametrize("name", ["code", "code_verifier", "redirect_uri", "grant_type"])
def test_a_parameter_without_a_value_is_missing(http: httpx.Client, name: str) -> None:
    assert_refused(redeem(http, code_for(http), **{name: ""}), 400, "invalid_request")


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
    assert http.get(f"/authorize?{query}&redirect_uri=https://evil.example.com").status_code == 400
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


# ── machines ──────────────────────────────────────────────────────────────────────────────────


def test_a_build_token_says_what_auth0s_says(issuer: str, http: httpx.Client) -> None:
    answer = mint(http)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    claims = verified(http, answer.json()["access_token"], MINT_AUDIENCE)
    issued, expires = claims.pop("iat"), claims.pop("exp")
    assert expires - issued == answer.json()["expires_in"]
    assert expires - issued > 7 * 24 * 3600
    assert claims == {
        "iss": issuer,
        "sub": "baton-api@clients",
        "aud": MINT_AUDIENCE,
        "azp": "baton-api",
        "scope": "update:builds",
        "gty": "client-credentials",
        f"{NAMESPACE}user_id": "auth0|ann",
        f"{NAMESPACE}build_id": BUILD,
    }


@pytest.mark.parametrize("scope", ["read:builds", "create:builds update:builds", "nonsense"])
def test_the_scope_of_a_client_credentials_request_is_ignored(
    http: httpx.Client, scope: str
) -> None:
    answer = mint(http, scope=scope)
    assert answer.json()["scope"] == "update:builds"
    claims = verified(http, answer.json()["access_token"], MINT_AUDIENCE)
    assert claims["scope"] == "update:builds"


def test_a_client_may_send_a_form_and_identify_itself_with_basic(http: httpx.Client) -> None:
    form = {
        "grant_type": "client_credentials",
        "audience": MINT_AUDIENCE,
        "user_id": "auth0|ann",
        "build_id": BUILD,
    }
    body = {"client_id": "baton-api", "client_secret": SECRET}
    assert http.post("/oauth/token", data=form | body).status_code == 200
    quoted = httpx.QueryParams({"s": SECRET})  # RFC 6749 §2.3.1: form-encoded, then Basic
    basic = ("baton-api", str(quoted).removeprefix("s="))
    assert http.post("/oauth/token", data=form, auth=basic).status_code == 200
    assert_refused(http.post("/oauth/token", data=form | body, auth=basic), 400, "invalid_request")


@pytest.mark.parametrize(
    "changed",
    [
        {"client_secret": "wrong"},
        {"client_secret": None},
        {"client_secret": ""},
        {"client_id": "somebody"},
        {"client_id": None},
        {"client_id": "baton-spa"},
    ],
)
def test_a_client_has_to_prove_itself(http: httpx.Client, changed: dict[str, Any]) -> None:
    assert_refused(mint(http, **changed), 401, "invalid_client")


@pytest.mark.parametrize("header", ["Basic !!!", "Basic eDp5", "Bearer x", "Basic", "Basic gDo="])
def test_wrong_basic_credentials_are_answered_with_a_challenge(
    http: httpx.Client, header: str
) -> None:
    answer = http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "audience": MINT_AUDIENCE},
        headers={"Authorization": header},
    )
    assert_refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"audience": None}, 400, "invalid_request"),
        ({"audience": "https://other.example.com/"}, 403, "access_denied"),
        ({"audience": AUDIENCE}, 403, "access_denied"),
        ({"audience": MINT_AUDIENCE.rstrip("/")}, 403, "access_denied"),
        ({"audience": [MINT_AUDIENCE]}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, 400, "unauthorized_client"),
        ({"client_id": "baton-spa", "client_secret": None}, 400, "unauthorized_client"),
        ({"user_id": None}, 400, "invalid_request"),
        ({"user_id": "baton-api@clients"}, 400, "invalid_request"),
        ({"user_id": {"$ne": ""}}, 400, "invalid_request"),
        ({"build_id": None}, 400, "invalid_request"),
        ({"build_id": "bld_1"}, 400, "invalid_request"),
    ],
)
def test_a_client_credentials_request_may_be_refused(
    http: httpx.Client, changed: dict[str, Any], status: int, error: str
) -> None:
    assert_refused(mint(http, **changed), status, error)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b'{"audience": "a", "audience": "b"}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"audience=a&audience=b", "application/x-www-form-urlencoded", 400),
        (b"audience=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 100, "application/x-www-form-urlencoded", 400),
        (b"audience=a", "text/plain", 415),
        (b" " * 20_000, "application/json", 413),
        (b"", "application/json", 400),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    http: httpx.Client, content: bytes, media_type: str, status: int
) -> None:
    answer = http.post("/oauth/token", content=content, headers={"Content-Type": media_type})
    assert_refused(answer, status, "invalid_request")


async def test_the_verifier_takes_each_kind_of_token_for_what_it_is(issuer: str) -> None:
    user = user_token(issuer, user="ann", scope=SCOPE, audience=AUDIENCE)
    with httpx.Client(base_url=issuer, trust_env=False) as http:
        build = mint(http).json()["access_token"]
    async with httpx.AsyncClient(trust_env=False) as client:
        algorithms = frozenset({"RS256"})
        keys = JwksCache(f"{issuer}.well-known/jwks.json", client, algorithms)
        verifier = Verifier(
            [TrustedIssuer(issuer=issuer, keys=keys, algorithms=algorithms)],
            Policy(
                audience=AUDIENCE,
                mint_audience=MINT_AUDIENCE,
                namespace=NAMESPACE,
                minting_clients=frozenset({"baton-api"}),
                delegated=DELEGATED,
            ),
        )
        try:
            assert (await verifier.user(user)).user_id == "auth0|ann"
            principal = await verifier.build(build)
            assert (principal.user_id, principal.build_id) == ("auth0|ann", BUILD)
            with pytest.raises(TokenError):
                await verifier.user(build)
            with pytest.raises(TokenError):
                await verifier.build(user)
        finally:
            await keys.close()


# ── keys ──────────────────────────────────────────────────────────────────────────────────────


def rotate(http: httpx.Client, secret: str = SECRET) -> httpx.Response:
    quoted = str(httpx.QueryParams({"s": secret})).removeprefix("s=")
    return http.post("/keys/rotate", auth=("baton-api", quoted))


def published(http: httpx.Client) -> list[str]:
    return [key["kid"] for key in http.get("/.well-known/jwks.json").json()["keys"]]


def kid_of(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


def test_rotation_signs_with_the_key_that_was_published_next(tmp_path: Path) -> None:
    with (
        serve(lambda url: create_issuer(config(url, key_dir=tmp_path / "keys"))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        current, upcoming = published(http)
        old = mint(http).json()["access_token"]
        assert kid_of(old) == current
        assert rotate(http).status_code == 204
        new = mint(http).json()["access_token"]
        assert kid_of(new) == upcoming
        verified(http, old, MINT_AUDIENCE)
        verified(http, new, MINT_AUDIENCE)
        assert len(set(published(http))) == 3
        assert rotate(http).status_code == 204
        assert current not in published(http)
        verified(http, new, MINT_AUDIENCE)


def test_keys_outlive_a_restart_and_are_their_owners_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    seen = []
    for _ in range(2):
        with (
            serve(lambda url: create_issuer(config(url, key_dir=keys))) as url,
            httpx.Client(base_url=url, trust_env=False) as http,
        ):
            seen.append((published(http), kid_of(mint(http).json()["access_token"])))
            if len(seen) == 1:
                assert rotate(http).status_code == 204
                seen[0] = (published(http), kid_of(mint(http).json()["access_token"]))
    assert seen[0] == seen[1]
    assert len(seen[0][0]) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700


def test_only_the_machine_client_may_rotate_the_keys(http: httpx.Client) -> None:
    before = published(http)
    assert_refused(rotate(http, "wrong"), 401, "invalid_client")
    assert_refused(http.post("/keys/rotate"), 401, "invalid_client")
    public = http.post("/keys/rotate", auth=("baton-spa", ""))
    assert_refused(public, 403, "unauthorized_client")
    assert published(http) == before


def test_published_keys_are_public(http: httpx.Client) -> None:
    answer = http.get("/.well-known/jwks.json")
    assert "max-age" in answer.headers["cache-control"]
    for key in answer.json()["keys"]:
        assert key.keys() == {"kty", "n", "e", "alg", "use", "kid"}
        assert (key["kty"], key["alg"], key["use"]) == ("RSA", "RS256", "sig")
        assert len(base64.urlsafe_b64decode(key["n"] + "==")) == 2048 // 8


# ── the rest ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("document", ["openid-configuration", "oauth-authorization-server"])
def test_metadata_leads_to_every_endpoint(issuer: str, http: httpx.Client, document: str) -> None:
    metadata = http.get(f"/.well-known/{document}").json()
    assert metadata["issuer"] == issuer
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert http.get(metadata["jwks_uri"]).status_code == 200
    assert http.get(metadata["authorization_endpoint"]).status_code == 400
    assert http.post(metadata["token_endpoint"]).status_code == 415
    assert http.get(metadata["userinfo_endpoint"]).status_code == 401


def test_unknown_paths_and_methods_are_answered_in_json(http: httpx.Client) -> None:
    assert_refused(http.get("/nothing"), 404, "not_found")
    answer = http.get("/oauth/token")
    assert_refused(answer, 405, "invalid_request")
    assert answer.headers["allow"] == "POST"
    assert {"GET", "POST"} <= set(http.put("/authorize").headers["allow"].split(", "))
    assert http.get("/healthz").json() == {"status": "ok"}


def test_only_registered_origins_may_call_from_a_browser(http: httpx.Client) -> None:
    def allowed(origin: str) -> str | None:
        answer = http.options(
            "/oauth/token",
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        )
        return answer.headers.get("access-control-allow-origin")

    assert allowed(ORIGIN) == ORIGIN
    assert allowed("https://evil.example.com") is None


def test_the_start_warns_once_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    with serve(lambda url: create_issuer(config(url))) as url:
        with httpx.Client(base_url=url, trust_env=False) as http:
            token = mint(http).json()["access_token"]
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert [r.getMessage() for r in warnings] == [
        "the embedded issuer signs in anyone under any name: for development only"
    ]
    assert token not in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(config("http://127.0.0.1:1"))


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "http://127.0.0.1:1/tenant/"},
        {"issuer": "127.0.0.1:1"},
        {"issuer": "http://user@127.0.0.1:1/"},
        {"issuer": "http://127.0.0.1:1/?a=b"},
        {"spa_client_id": "baton-api"},
        {"mint_client_secret": ""},
    ],
)
def test_a_config_that_cannot_work_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="."):
        config("http://127.0.0.1:1", **changed)


def test_what_waits_is_bounded_and_expires() -> None:
    now = 0.0
    pending: Pending[str] = Pending(lifetime=10, capacity=2, clock=lambda: now)
    first, second, third = (pending.add(name) for name in ("first", "second", "third"))
    assert pending.get(first) is None
    assert pending.get(second) == "second"
    now = 9.9
    assert pending.take(third) == "third"
    assert pending.take(third) is None
    now = 10.0
    assert pending.get(second) is None
    assert pending.get(secrets.token_urlsafe(32)) is None
