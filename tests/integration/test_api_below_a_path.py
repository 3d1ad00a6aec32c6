"""An API that is published below a path of its host, `https://example.com/baton`."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.bootstrap.api import create_app
from app.config.settings import Settings
from app.contract.sealing import new_key
from tests.support.providers.authority import AUDIENCE, Authority
from tests.support.servers.redis_process import RedisProcess
from tests.support.servers.serving import serve


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    with RedisProcess(tmp_path) as redis, Authority() as authority:
        settings = Settings.from_env(
            {
                "BATON_REDIS_URL": redis.url,
                "BATON_ISSUER": authority.issuer,
                "BATON_AUDIENCE": AUDIENCE,
                "BATON_MINT_CLIENT_SECRET": "a secret",
                "BATON_MESSAGE_KEYS": new_key(),
                "BATON_API_URL": "https://example.com/baton",
            }
        )
        token = authority.sign(authority.user_claims())
        headers = {"Authorization": f"Bearer {token}"}
        with serve(create_app(settings)) as url, httpx.Client(base_url=url) as client:
            client.headers.update(headers)
            yield client


def test_its_links_begin_with_that_path(api: httpx.Client) -> None:
    spec = {"steps": [{"name": "a", "run": "true"}]}
    answers = [api.post("/builds", json=spec) for _ in range(2)]
    build_id = answers[0].json()["id"]
    assert answers[0].headers["location"] == f"/baton/builds/{build_id}"
    page = api.get("/builds?limit=1")
    assert page.headers["link"].startswith("</baton/builds?limit=1&cursor=bld_")
    nowhere = api.get("/builds/bld%5F0")
    assert nowhere.status_code == httpx.codes.NOT_FOUND
    assert nowhere.json()["instance"] == "/baton/builds/bld_0"


def test_its_metadata_is_where_rfc_9728_has_it(api: httpx.Client) -> None:
    challenge = httpx.get(api.base_url.join("/builds")).headers["www-authenticate"]
    where = "/.well-known/oauth-protected-resource/baton"
    assert f'resource_metadata="https://example.com{where}"' in challenge
    metadata = api.get(where).json()
    assert metadata["resource"] == "https://example.com/baton"
    assert metadata["baton_audience"] == AUDIENCE
    assert "baton_cli_client_id" not in metadata  # RFC 9728 §2: nothing that is empty
    assert api.get(f"{where}/elsewhere").status_code == httpx.codes.NOT_FOUND
    assert api.post(where).headers["content-type"] == "application/problem+json"
