"""The API's manners: limits, methods, CORS, documents."""

import re
from collections.abc import Iterator

import httpx
import pytest
import redis
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.builds.store import keys
from tests.e2e.user import User, steps
from tests.support.stack import AUDIENCE, Stack

SPA = "https://app.example.com"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(
        tmp_path_factory.mktemp("stack"), BATON_CORS_ORIGINS=SPA, BATON_MAX_BODY="4096"
    ) as stack:
        yield stack


@pytest.fixture
def ann(stack: Stack) -> Iterator[User]:
    with User(stack) as user:
        yield user


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["detail"]
    kind: str = body["type"]
    return kind.removeprefix("urn:baton:problem:")


@pytest.fixture(autouse=True)
def documented(ann: User) -> None:
    """Whatever these tests hear from a path of the OpenAPI document, it says so there."""
    described = httpx.get(f"{ann.stack.api_url}/openapi.json").json()["paths"]

    def check(answer: httpx.Response) -> None:
        for path, item in described.items():
            pattern = re.sub(r"{\w+}", "[^/]+", path)
            operation = item.get(answer.request.method.lower())
            if operation and re.fullmatch(pattern, answer.request.url.path):
                said = operation["responses"].get(str(answer.status_code))
                assert said, f"{answer.request.method} {path} does not document {answer}"
                media_type = answer.headers["content-type"].partition(";")[0]
                assert media_type in said["content"]

    ann.http.event_hooks["response"].append(check)


def test_a_body_over_the_limit_is_refused_announced_or_not(ann: User) -> None:
    large = b'{"steps": [' + b" " * 5000 + b"]}"
    headers = {"Content-Type": "application/json"}
    announced = ann.http.post("/builds", content=large, headers=headers)
    assert (announced.status_code, code(announced)) == (413, "too-large")
    chunked = ann.http.post("/builds", content=iter([large]), headers=headers)
    assert (chunked.status_code, code(chunked)) == (413, "too-large")


def test_only_json_is_read(ann: User) -> None:
    form = ann.http.post("/builds", data={"steps": "x"})
    assert (form.status_code, code(form)) == (415, "unsupported-media-type")
    headers = {"Content-Type": "application/json"}
    for rubbish in (b"", b"{", b"\xff\xfe", b'{"steps": NaN}'):
        answer = ann.http.post("/builds", content=rubbish, headers=headers)
        assert (answer.status_code, code(answer)) == (400, "bad-request"), rubbish
    for wrong in (b"[]", b"null", b'"x"', b"{}"):
        answer = ann.http.post("/builds", content=wrong, headers=headers)
        assert (answer.status_code, code(answer)) == (422, "invalid-body"), wrong


def test_an_unusable_idempotency_key_is_refused(ann: User) -> None:
    for key in (b"", b"x" * 256, "schlüssel".encode(), b"a b", b'"half'):
        headers: dict[bytes, bytes] = {b"Idempotency-Key": key}
        answer = ann.http.post("/builds", json=steps("true"), headers=headers)
        assert (answer.status_code, code(answer)) == (400, "bad-request"), key


def test_wrong_methods_and_paths_are_named(ann: User) -> None:
    answer = ann.http.delete("/builds")
    assert (answer.status_code, code(answer)) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    for path in ("/nothing", "/builds/", "/builds/x/y/z"):
        missing = ann.http.get(path)
        assert (missing.status_code, code(missing)) == (404, "not-found")


def test_a_method_from_another_protocol_is_answered_like_others(ann: User) -> None:
    answer = ann.http.request("PROPFIND", "/builds", headers={"Origin": SPA})
    assert (answer.status_code, code(answer)) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.headers["access-control-allow-origin"] == SPA


@pytest.mark.parametrize("host", ["[", "a/b?c", "x:y"])
def test_a_host_that_is_none_changes_no_answer(ann: User, host: str) -> None:
    answer = ann.http.get("/builds/x%20y", headers={"Host": host})
    assert (answer.status_code, code(answer)) == (404, "not-found")
    assert answer.json()["instance"] == "/builds/x%20y"


def test_a_record_that_cannot_be_read_is_our_fault_not_the_callers(ann: User) -> None:
    build_id = ann.submit(steps("true"))
    with redis.Redis.from_url(ann.stack.redis.url) as store:
        store.hset(keys.build(build_id), "spec", '{"secret": 1}')
        answer = ann.http.get(f"/builds/{build_id}", headers={"Origin": SPA})
        store.delete(keys.build(build_id))
    assert (answer.status_code, code(answer)) == (500, "internal-error")
    assert "secret" not in answer.text
    assert answer.headers["access-control-allow-origin"] == SPA


@pytest.mark.parametrize("build_id", ["x", "bld_" + "0" * 26, "bld_%00", "..%2f", "é"])
def test_a_build_that_is_none_is_not_found(ann: User, build_id: str) -> None:
    answer = ann.http.get(f"/builds/{build_id}")
    assert (answer.status_code, code(answer)) == (404, "not-found")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=", "limit=٣", "status=done", "cursor=x"],
)
def test_a_wrong_query_is_refused(ann: User, query: str) -> None:
    answer = ann.http.get(f"/builds?{query}")
    assert (answer.status_code, code(answer)) == (400, "bad-request")


@pytest.mark.parametrize("query", ["label=", f"label={'x' * 322}", "&".join(["label=x"] * 9)])
def test_labels_that_no_build_can_have_are_refused(ann: User, query: str) -> None:
    answer = ann.http.get(f"/builds?{query}")
    assert (answer.status_code, code(answer)) == (400, "bad-request")


def test_the_spa_may_call_and_read_what_it_needs(ann: User) -> None:
    asked = ann.http.options(
        "/builds",
        headers={
            "Origin": SPA,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,"
            "traceparent,tracestate",
        },
    )
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == SPA
    refused = httpx.get(f"{ann.stack.api_url}/builds", headers={"Origin": SPA})
    assert refused.status_code == 401
    exposed = refused.headers["access-control-expose-headers"]
    assert {"WWW-Authenticate", "Location", "Link"} <= set(exposed.split(", "))
    stranger = ann.http.get("/builds", headers={"Origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in stranger.headers


def test_the_openapi_document_is_valid_and_whole(ann: User) -> None:
    document = httpx.get(f"{ann.stack.api_url}/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"
    calls = {(m.upper(), path) for path, item in document["paths"].items() for m in item}
    assert ("PATCH", "/builds/{build_id}/log") in calls
    assert len(calls) == 19
    append = document["paths"]["/builds/{build_id}/log"]["patch"]
    required = {each["name"] for each in append["parameters"] if each["required"]}
    assert required == {"build_id", "Baton-Lease", "Content-Range"}
    submit = document["paths"]["/builds"]["post"]
    assert submit["security"] == [{"user": ["create:builds"]}]
    assert {"202", "401", "403", "413", "422"} <= set(submit["responses"])
    assert document["components"]["schemas"]["BuildSpec"]["additionalProperties"] is False


def test_metadata_says_where_tokens_come_from(ann: User) -> None:
    stack = ann.stack
    challenge = httpx.get(f"{stack.api_url}/builds").headers["www-authenticate"]
    url = challenge.partition('resource_metadata="')[2].partition('"')[0]
    metadata = httpx.get(url).json()
    assert metadata["resource"] == stack.api_url
    assert httpx.get(f"{url}/elsewhere").status_code == 404  # RFC 9728 §3.3: another resource
    assert metadata["authorization_servers"] == [stack.issuer_url]
    assert "update:builds" in metadata["scopes_supported"]
    assert metadata["baton_cli_client_id"] == "baton-cli"
    assert metadata["baton_audience"] == AUDIENCE
    assert httpx.get(f"{stack.api_url}/.well-known/jwks.json").json() == {"keys": []}


def test_the_api_is_alive_and_ready(ann: User) -> None:
    assert httpx.get(f"{ann.stack.api_url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{ann.stack.api_url}/readyz").json()
    assert ready["checks"] == {"store": "ok", "broker": "ok", "issuer": "ok"}
