"""The embedded issuer on real HTTP: what the API gets from it, and what anyone may read."""

import base64
import stat
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from app.issuer.application import create_issuer
from app.issuer.one_time_store import OneTimeStore
from app.tokens.errors import TokenError
from tests.support.providers.tenant import (
    AUDIENCE,
    BUILD,
    MINT_AUDIENCE,
    NAMESPACE,
    ORIGIN,
    SCOPE,
    SECRET,
    assert_refused,
    config,
    mint,
    verified,
    verifying,
)
from tests.support.servers.serving import serve
from tests.support.signing_in.code_flow import user_token

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
    async with verifying(issuer) as verifier:
        assert (await verifier.user(user)).user_id == "auth0|ann"
        principal = await verifier.build(build)
        assert (principal.user_id, principal.build_id) == ("auth0|ann", BUILD)
        with pytest.raises(TokenError):
            await verifier.user(build)
        with pytest.raises(TokenError):
            await verifier.build(user)


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
    assert http.post(metadata["device_authorization_endpoint"]).status_code == 415
    assert http.post(metadata["revocation_endpoint"]).status_code == 415
    assert set(metadata["grant_types_supported"]) == {
        "authorization_code",
        "client_credentials",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    }
    assert "offline_access" in metadata["scopes_supported"]


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
        found: str | None = answer.headers.get("access-control-allow-origin")
        return found

    assert allowed(ORIGIN) == ORIGIN
    assert allowed("https://evil.example.com") is None


def test_the_start_warns_once_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    with (
        serve(lambda url: create_issuer(config(url))) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
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
        {"cli_client_id": "baton-api"},
        {"cli_client_id": "baton-spa"},
        {"mint_client_secret": ""},
    ],
)
def test_a_config_that_cannot_work_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"http|client"):
        config("http://127.0.0.1:1", **changed)


def test_what_waits_is_bounded_and_expires() -> None:
    now = 0.0
    pending: OneTimeStore[str] = OneTimeStore(lifetime=10, capacity=2, clock=lambda: now)
    first, second, third = (pending.add(name) for name in ("first", "second", "third"))
    assert pending.get(first) is None
    assert pending.get(second) == "second"
    now = 9.9
    assert pending.take(third) == "third"
    assert pending.take(third) is None
    now = 10.0
    assert pending.get(second) is None
    assert pending.get("unknown") is None
