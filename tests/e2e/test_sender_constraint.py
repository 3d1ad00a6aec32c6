"""Build tokens that are bound to the workers' key (RFC 9449): stolen, they open nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from click.testing import CliRunner

from app.cli import baton
from app.contract.dpop import ProofKey
from app.contract.queue import QUEUE, TOKEN_HEADER
from tests.e2e.user import User, steps
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pool") / "key.pem"


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[Stack]:
    made = CliRunner().invoke(baton, ["dpop-key", str(key_file)])
    assert made.exit_code == 0, made.output
    assert CliRunner().invoke(baton, ["dpop-key", str(key_file)]).output == made.output
    folder = tmp_path_factory.mktemp("bound")
    with Stack(
        folder,
        BATON_MINTER="local",
        BATON_MINT_KEY_FILE=str(folder / "mint.pem"),
        BATON_DPOP_WORKER_KEYS=made.output.strip(),
    ) as stack:
        yield stack


def waiting_token(stack: Stack, build_id: str) -> str:
    """The token in the message that waits in the queue."""
    with redis.Redis.from_url(stack.redis.url) as broker:
        wait_until("a message waits", lambda: broker.llen(QUEUE), seconds=30)
        raw = broker.lindex(QUEUE, 0)
    return stack.seal.open(json.loads(raw)["headers"][TOKEN_HEADER], purpose=build_id)


def claim(
    stack: Stack, build_id: str, headers: dict[str, str], nonce: str = "n" * 24
) -> httpx.Response:
    body: dict[str, Any] = {"nonce": nonce, "worker": "thief"}
    return httpx.post(f"{stack.api_url}/builds/{build_id}/claim", json=body, headers=headers)


def test_a_stolen_token_needs_the_pools_key(bound: Stack, key_file: Path) -> None:
    with User(bound) as ann:
        build_id = ann.submit(steps("echo made"))
        token = waiting_token(bound, build_id)
        url = f"{bound.api_url}/builds/{build_id}/claim"
        pool, thief = ProofKey.load(key_file), ProofKey.generate()
        elsewhere = url.replace(build_id, "bld_0")
        refused = {
            "a bearer": {"Authorization": f"Bearer {token}"},
            "no proof": {"Authorization": f"DPoP {token}"},
            "another key": {
                "Authorization": f"DPoP {token}",
                "DPoP": thief.proof("POST", url, token),
            },
            "another call": {
                "Authorization": f"DPoP {token}",
                "DPoP": pool.proof("PUT", url, token),
            },
            "another build's call": {
                "Authorization": f"DPoP {token}",
                "DPoP": pool.proof("POST", elsewhere, token),
            },
        }
        for name, headers in refused.items():
            answer = claim(bound, build_id, headers)
            scheme = headers["Authorization"].partition(" ")[0]
            challenge = answer.headers["WWW-Authenticate"]
            assert (answer.status_code, challenge.partition(" ")[0]) == (401, scheme), name
            word = "invalid_token" if name in {"a bearer", "another key"} else "invalid_dpop_proof"
            assert f'error="{word}"' in challenge, name
            assert ('algs="ES256"' in challenge) == (scheme == "DPoP")
        assert ann.show(build_id)["status"] == "queued"

        overheard = {"Authorization": f"DPoP {token}", "DPoP": pool.proof("POST", url, token)}
        said = [claim(bound, build_id, overheard, nonce="short") for _ in range(2)]
        assert [each.status_code for each in said] == [422, 401]
        assert 'error="invalid_dpop_proof"' in said[1].headers["WWW-Authenticate"]

        bound.worker(BATON_DPOP_KEY_FILE=str(key_file))
        done = ann.wait_for(build_id, "succeeded")
        assert done["attempt"] == 1
        assert ann.log(build_id).endswith("made\n")


def test_a_proof_beside_a_bad_token_leaves_nothing_behind(bound: Stack) -> None:
    url = f"{bound.api_url}/builds/bld_0/claim"
    with redis.Redis.from_url(bound.redis.url) as store:
        before = set(store.scan_iter("{baton}:used:*"))
        proof = ProofKey.generate().proof("POST", url, "a.b.c")
        spent = {"Authorization": "DPoP a.b.c", "DPoP": proof}
        said = [claim(bound, "bld_0", spent).json()["type"] for _ in range(2)]
        assert said == ["urn:baton:problem:invalid-token"] * 2
        assert before and set(store.scan_iter("{baton}:used:*")) == before
