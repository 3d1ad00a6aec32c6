"""A failure outside of every endpoint: in something that stands before them, say."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from starlette.requests import Request
from starlette.routing import Route

from app.contract.sealing import new_key
from app.main import create_app
from app.settings import Settings
from tests.authority import AUDIENCE, Authority
from tests.redis_process import RedisProcess
from tests.serving import serve
from tests.waiting import wait_until


async def fails(_: Request) -> NoReturn:
    raise RuntimeError("the secret reason")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with RedisProcess(tmp_path) as redis, Authority() as authority:
        settings = Settings.from_env(
            {
                "BATON_REDIS_URL": redis.url,
                "BATON_ISSUER": authority.issuer,
                "BATON_AUDIENCE": AUDIENCE,
                "BATON_MINT_CLIENT_SECRET": "a secret",
                "BATON_MESSAGE_KEYS": new_key(),
                "BATON_API_URL": "https://example.com",
            }
        )
        app = create_app(settings)
        app.router.routes.append(Route("/fails", fails))
        with serve(app) as url:
            yield url


def test_it_is_answered_like_any_other_and_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = httpx.get(f"{url}/fails")
        wait_until("it is logged", lambda: "the secret reason" in caplog.text)

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:baton:problem:internal-error"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert "secret" not in answer.text
