"""Build tokens in exchange for users' own (RFC 8693): whole builds, by real workers.

The test is the provider; in the last story a third party is.
"""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from app.builds.store import keys
from app.tokens.minting.client_authentication import AssertionKey
from app.tokens.signing_key import SigningKey
from tests.e2e.scene import Scene, check_refused
from tests.e2e.user import FINAL, steps
from tests.support.providers.authority import CLIENT
from tests.support.providers.exchanging_authority import WORKERS, ExchangingAuthority
from tests.support.providers.oidc_provider import (
    API,
    BUILDS,
    Alg,
    Dialect,
    OidcProvider,
    client,
    spa,
)
from tests.support.stack import Stack
from tests.support.waiting import wait_until

ATTEMPTS = 3  #: BATON_MAX_ATTEMPTS


def kept(stack: Stack, build_id: str) -> int:
    """How many tokens wait for the attempts at a build."""
    with redis.Redis.from_url(stack.redis.url) as store:
        return int(store.llen(keys.kept(build_id)))


def wait_for(api: httpx.Client, build_id: str, *statuses: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(api.get(f"/builds/{build_id}").json())
        return found["status"] in statuses

    wait_until(f"the build is {statuses}", there, seconds=60)
    return found


@pytest.fixture
def release() -> Iterator[Path]:
    """A file that is not there yet, where builds can see it: they run as another user."""
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "release"


def test_a_lost_attempt_is_made_up_for_with_the_second_token_while_the_provider_is_away(
    tmp_path: Path, release: Path
) -> None:
    script = f'echo "attempt $BATON_ATTEMPT"; until [ -e {release} ]; do sleep 0.1; done'
    with ExchangingAuthority() as authority:
        stack = Stack(
            tmp_path,
            BATON_ISSUER=authority.issuer,
            BATON_MINTER="token_exchange",
            BATON_MINT_AUDIENCE=WORKERS,
        )
        scene = Scene(stack, authority)
        with stack.without_issuer(), scene.http, stack.http(scene.user()) as ann:
            build_id = ann.post("/builds", json=steps(script)).json()["id"]
            first = scene.message(build_id)
            authority.trouble = {"error": "temporarily_unavailable"}, 503, 1

            lost = stack.worker(concurrency=1)
            wait_for(ann, build_id, "running")
            assert kept(stack, build_id) == ATTEMPTS - 1
            lost.stop(signal.SIGKILL)
            stack.worker(concurrency=1)
            wait_until(
                "the second attempt runs",
                lambda: wait_for(ann, build_id, "running")["attempt"] == 2,
                seconds=60,
            )
            assert kept(stack, build_id) == ATTEMPTS - 2
            stolen = scene.claim(build_id, first)
            check_refused(stolen, 401, "invalid_token", "superseded-token")
            release.touch()
            build = wait_for(ann, build_id, *FINAL)
            assert (build["status"], build["attempt"]) == ("succeeded", 2), stack.logs()
            assert len(authority.asked) == ATTEMPTS

            assert ann.post("/builds", json=steps("true")).status_code == 503
            authority.trouble = None
            after = ann.post("/builds", json=steps("true")).json()["id"]
            assert wait_for(ann, after, *FINAL)["status"] == "succeeded"


@pytest.mark.parametrize(("alg", "dialect"), [("RS256", "auth0"), ("ES256", "rfc9068")])
def test_it_works_with_a_third_partys_provider(tmp_path: Path, alg: Alg, dialect: Dialect) -> None:
    key_file = tmp_path / "client.pem"
    key = AssertionKey(SigningKey.load_or_create(key_file, "ES256"))
    signing = client(
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_signing_alg=key.alg,
        jwks={"keys": [dict(key.public_jwk)]},
        client_secret=None,
    )
    with OidcProvider(alg=alg, dialect=dialect, clients=[signing, spa()]) as provider:
        settings = {
            "BATON_ISSUER": provider.issuer,
            "BATON_JWKS_URL": provider.keys_url,
            "BATON_ALGORITHMS": alg,
            "BATON_AUDIENCE": API,
            "BATON_MINTER": "token_exchange",
            "BATON_MINT_TOKEN_URL": provider.token_url,
            "BATON_MINT_AUDIENCE": BUILDS,
            "BATON_MINT_AUTHENTICATION": "private_key_jwt",
            "BATON_MINT_ASSERTION_KEY_FILE": str(key_file),
            "BATON_MINT_CLIENT_SECRET": "",
        }
        with Stack(tmp_path, **settings).without_issuer() as stack:
            stack.worker()
            with stack.http(provider.user_token()) as ann:
                build_id = ann.post("/builds", json=steps("echo built")).json()["id"]
                build = wait_for(ann, build_id, *FINAL)
                assert build["status"] == "succeeded", stack.logs()
                assert build["token"]["audience"] == BUILDS
                assert build["token"]["client_id"] == CLIENT
                assert "built" in ann.get(f"/builds/{build_id}/log").text
            assert provider.asked()["token"] == ATTEMPTS
