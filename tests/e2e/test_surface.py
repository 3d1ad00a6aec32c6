"""What every answer of API and issuer has, and what none says: who made it, in which version."""

import re
import signal
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

import httpx
import pytest

from tests.e2e.user import User, steps
from tests.support.stack import Stack

SPA = "https://app.example.com"

EXPECTED: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
#: What servers call themselves.
BANNERS: Final = re.compile(r"(?i)uvicorn|starlette|pydantic|celery|httptools|cpython|redis/")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), BATON_CORS_ORIGINS=SPA) as stack:
        yield stack


@pytest.fixture(scope="module")
def ann(stack: Stack) -> Iterator[User]:
    with User(stack) as user:
        yield user


@pytest.fixture(scope="module")
def build_id(ann: User) -> str:
    """A build that has ended, so that nothing that tells of it goes on forever."""
    build_id = ann.submit(steps("true"))
    ann.cancel(build_id)
    return build_id


def check(answer: httpx.Response) -> None:
    """What every answer has; its body need not have been read."""
    headers = answer.headers
    for name, value in EXPECTED.items():
        assert headers.get_list(name) == [value], (answer.request.url, name)
    (policy,) = headers.get_list("content-security-policy")
    directives = dict(each.strip().partition(" ")[::2] for each in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert "form-action" in directives
    assert "unsafe" not in policy and "*" not in policy
    assert headers.get_list("cache-control", split_commas=False) != []
    assert "permissions-policy" in headers
    assert "server" not in headers and "x-powered-by" not in headers and "via" not in headers
    assert not BANNERS.search(str(headers)), headers


def check_all(answer: httpx.Response) -> None:
    check(answer)
    assert not BANNERS.search(answer.text), answer.text[:2000]
    assert version("baton") not in answer.text


def test_every_call_of_the_document_answers_so(stack: Stack, ann: User, build_id: str) -> None:
    paths = httpx.get(f"{stack.api_url}/openapi.json").json()["paths"]
    assert len(paths) >= 12
    for template, item in paths.items():
        path = template.replace("{build_id}", build_id)
        for method in item:
            for client in (ann.http, None):
                url = stack.api_url + path
                sent = (
                    client.build_request(method, url)
                    if client
                    else httpx.Request(method, url, headers={"Origin": SPA})
                )
                with httpx.Client(timeout=30) as fresh:
                    answer = fresh.send(sent, stream=True)
                    check(answer)
                    if "security" in item[method]:
                        streamed = "event-stream" in answer.headers["content-type"]
                        kept = "no-store, no-transform" if streamed else "no-store"
                        assert answer.headers["cache-control"] == kept, path
                    answer.close()


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/openapi.json", "/docs", "/nothing", "/builds", "/builds/x/log"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_refusals_and_documents_answer_so(stack: Stack, method: str, path: str) -> None:
    check_all(httpx.request(method, stack.api_url + path))


def test_a_failure_answers_so(stack: Stack) -> None:
    stack.redis.send(signal.SIGSTOP)
    try:
        answer = httpx.get(
            f"{stack.api_url}/builds",
            headers={"Authorization": f"Bearer {stack.token()}"},
            timeout=60,
        )
    finally:
        stack.redis.send(signal.SIGCONT)
    assert answer.status_code == 503
    check_all(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json", "/authorize", "/oauth/token", "/userinfo", "/healthz", "/nothing",
        "/oauth/device/code", "/oauth/revoke", "/activate", "/activate?user_code=x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_issuer_answers_so(stack: Stack, method: str, path: str) -> None:
    check_all(httpx.request(method, stack.issuer_url.rstrip("/") + path))


def test_a_preflight_and_the_call_after_it_work_across_origins(stack: Stack) -> None:
    """Cross-Origin-Resource-Policy is for what comes without CORS; it must not stop the SPA."""
    asked = httpx.options(
        f"{stack.api_url}/builds",
        headers={
            "Origin": SPA,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    check_all(asked)
    assert asked.status_code == 200
    call = httpx.get(
        f"{stack.api_url}/builds",
        headers={"Origin": SPA, "Authorization": f"Bearer {stack.token()}"},
    )
    assert call.status_code == 200
    assert call.headers["access-control-allow-origin"] == SPA
    assert "WWW-Authenticate" in call.headers["access-control-expose-headers"]
    check(call)
