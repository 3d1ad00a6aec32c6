"""Build tokens in exchange for users' own (RFC 8693): when they are got, and what they open.

The test is the provider, the worker and the thief.
"""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis

from app.builds.store import keys
from app.contract.queue import QUEUE
from tests.e2e.scene import (
    ANN,
    BOB,
    QUIET,
    RESULT,
    Scene,
    check_refused,
    user_calls,
    worker_calls,
)
from tests.e2e.user import steps
from tests.support.providers.authority import AUDIENCE, CLIENT, NAMESPACE
from tests.support.providers.exchanging_authority import WORKERS, ExchangingAuthority
from tests.support.stack import Stack
from tests.support.waiting import wait_until

ATTEMPTS = 3  #: BATON_MAX_ATTEMPTS
SPEC = steps("true")


@pytest.fixture(scope="module")
def authority() -> Iterator[ExchangingAuthority]:
    with ExchangingAuthority() as authority:
        yield authority


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, authority: ExchangingAuthority
) -> Iterator[Scene]:
    stack = Stack(
        tmp_path_factory.mktemp("stack"),
        **QUIET,
        BATON_ISSUER=authority.issuer,
        BATON_MINTER="token_exchange",
        BATON_MINT_AUDIENCE=WORKERS,
    )
    with stack.without_issuer():
        scene = Scene(stack, authority)
        with scene.http:
            yield scene


@pytest.fixture
def scene(running: Scene, authority: ExchangingAuthority) -> Iterator[Scene]:
    """With a provider that is well, and has heard nothing yet."""
    authority.asked.clear()
    yield running
    authority.trouble, authority.changes, authority.lifetime = None, {}, 24 * 3600


def submit(
    scene: Scene, spec: dict[str, Any] = SPEC, headers: dict[str, str] | None = None
) -> httpx.Response:
    return scene.call("POST", "/builds", scene.user(), json=spec, headers=headers or {})


def kept(scene: Scene, build_id: str) -> int:
    """How many tokens wait for the attempts at a build."""
    with redis.Redis.from_url(scene.stack.redis.url) as store:
        return int(store.llen(keys.kept(build_id)))


def count(scene: Scene) -> int:
    """Ann's builds."""
    return len(scene.call("GET", "/builds?limit=100", scene.user()).json()["builds"])


# ── at submission ─────────────────────────────────────────────────────────────────────────────


def test_a_submission_exchanges_the_users_token_for_one_for_each_attempt(
    scene: Scene, authority: ExchangingAuthority
) -> None:
    users = scene.user()
    answer = scene.call("POST", "/builds", users, json=SPEC)

    assert answer.status_code == 202
    assert len(authority.asked) == ATTEMPTS
    for asked in authority.asked:
        assert asked == {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": users,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "audience": WORKERS,
            "scope": "update:builds",
            "client_id": CLIENT,
            "client_secret": "the-secret-of-the-tests",
        }
    assert kept(scene, answer.json()["id"]) == ATTEMPTS


def test_neither_store_nor_broker_shows_a_token(scene: Scene) -> None:
    build_id = scene.submit()
    token = scene.message(build_id)

    held = repr(scene.records())
    assert keys.kept(build_id) in held
    assert QUEUE in held
    assert token not in held
    assert "eyJ" not in held  # how every JWT begins


def test_a_repeated_submission_is_not_exchanged_again(
    scene: Scene, authority: ExchangingAuthority
) -> None:
    headers = {"Idempotency-Key": "the-same"}
    first = submit(scene, headers=headers)
    asked = len(authority.asked)

    again = submit(scene, headers=headers)
    other = submit(scene, steps("false"), headers)

    assert again.json()["id"] == first.json()["id"]
    assert other.json()["type"] == "urn:baton:problem:idempotency-key-reused"
    assert len(authority.asked) == asked == ATTEMPTS
    # Somebody else's key of the same name is another.
    assert scene.call("POST", "/builds", scene.user(BOB), json=SPEC, headers=headers).is_success
    assert len(authority.asked) == 2 * ATTEMPTS


def test_what_is_refused_anyway_is_not_exchanged(
    scene: Scene, authority: ExchangingAuthority
) -> None:
    narrow = scene.user(scope="create:builds read:builds")
    check_refused(
        scene.call("POST", "/builds", narrow, json=SPEC),
        403, "insufficient_scope", "insufficient-scope",
    )  # fmt: skip
    for spec in ({}, steps("true", timeout=10**6), {**SPEC, "more": 1}):
        check_refused(submit(scene, spec), 422, None, "invalid-body")

    assert authority.asked == []


def test_a_retry_exchanges_the_token_that_asks_for_it(
    scene: Scene, authority: ExchangingAuthority
) -> None:
    build_id = scene.submit()
    scene.call("POST", f"/builds/{build_id}/cancel", scene.user())
    authority.asked.clear()
    users = scene.user()

    answer = scene.call("POST", f"/builds/{build_id}/retry", users)

    assert answer.status_code == 202
    assert {asked["subject_token"] for asked in authority.asked} == {users}
    assert kept(scene, answer.json()["id"]) == ATTEMPTS
    assert kept(scene, build_id) == 0  # it was cancelled


@pytest.mark.parametrize(("retry_after", "said"), [(None, "2"), (77, "77")])
def test_while_the_provider_is_away_nothing_is_submitted_and_a_repeat_is_safe(
    scene: Scene, authority: ExchangingAuthority, retry_after: int | None, said: str
) -> None:
    before = count(scene)
    headers = {"Idempotency-Key": f"while-it-is-away-{retry_after}"}
    authority.trouble = {"error": "temporarily_unavailable"}, 503, retry_after

    away = submit(scene, headers=headers)

    check_refused(away, 503, None, "no-token")
    assert away.headers["retry-after"] == said
    assert "it answered 503" in away.json()["detail"]
    assert count(scene) == before
    authority.trouble = None
    assert submit(scene, headers=headers).status_code == 202
    assert count(scene) == before + 1


@pytest.mark.parametrize(
    ("trouble", "changes", "said"),
    [
        (
            ({"error": "invalid_grant", "error_description": "session over"}, 400, None),
            {},
            "invalid_grant: session over",
        ),
        (None, {"scope": "update:builds delete:all"}, "widened the token by scope 'delete:all'"),
        (None, {"sub": BOB}, "another user"),
        (None, {"azp": "spa"}, "issued to client 'spa'"),
        (None, {"exp": 300}, "raise the token lifetime"),  # seconds from now
    ],
    ids=["refused", "wide", "another user's", "another client's", "short"],
)
def test_an_exchange_of_no_use_submits_nothing_and_says_why(
    scene: Scene,
    authority: ExchangingAuthority,
    trouble: tuple[dict[str, Any], int, int | None] | None,
    changes: dict[str, Any],
    said: str,
) -> None:
    before = count(scene)
    soon = {"exp": int(time.time()) + changes["exp"]} if "exp" in changes else {}
    authority.trouble, authority.changes = trouble, {**changes, **soon}

    answer = submit(scene)

    check_refused(answer, 502, None, "token-refused")
    assert said in answer.json()["detail"]
    assert "eyJ" not in answer.text
    assert count(scene) == before
    assert "not submitted: " in scene.stack.api.output()


# ── what such a token opens ───────────────────────────────────────────────────────────────────


def test_an_exchanged_token_opens_its_builds_worker_calls_and_nothing_else(scene: Scene) -> None:
    build_id, token, lease = scene.running()
    held = {"Baton-Lease": lease}

    for answer in user_calls(scene, build_id, token):
        check_refused(answer, 403, "insufficient_scope", "wrong-token-kind")
    beat = scene.call("POST", f"/builds/{build_id}/heartbeat", token, headers=held)
    assert beat.status_code == 200
    shown = scene.show(build_id)
    assert shown["token"]["scope"] == "update:builds"
    assert (shown["token"]["user_id"], shown["token"]["build_id"]) == (ANN, build_id)


def test_other_tokens_do_not_pass_for_it(scene: Scene, authority: ExchangingAuthority) -> None:
    build_id, _, lease = scene.running()
    before = scene.show(build_id)
    mine = {f"{NAMESPACE}user_id": ANN, f"{NAMESPACE}build_id": build_id}
    for claims in (
        authority.user_claims(ANN),
        authority.user_claims(ANN, **mine, aud=WORKERS, scope="update:builds"),
        authority.build_claims(ANN, build_id, aud=WORKERS),  # minted: the other way to get one
        authority.exchanged_claims(ANN, act={"sub": "somebody else"}),
        authority.exchanged_claims(ANN, gty="refresh_token"),
        authority.exchanged_claims(f"{CLIENT}@clients"),
    ):
        for answer in worker_calls(scene, build_id, authority.sign(claims), lease):
            check_refused(answer, 403, "insufficient_scope", "wrong-token-kind")
    wide = authority.exchanged_claims(ANN, scope="update:builds read:builds")
    for answer in worker_calls(scene, build_id, authority.sign(wide), lease):
        check_refused(answer, 403, "insufficient_scope", "insufficient-scope")
    for answer in worker_calls(
        scene, build_id, authority.sign(authority.exchanged_claims(ANN, aud=AUDIENCE)), lease
    ):
        check_refused(answer, 401, "invalid_token", "invalid-token")
    assert scene.show(build_id) == before


def test_one_that_this_api_did_not_order_is_refused(
    scene: Scene, authority: ExchangingAuthority
) -> None:
    build_id, _, lease = scene.running()
    before = scene.show(build_id)
    anns, bobs = (authority.sign(authority.exchanged_claims(user)) for user in (ANN, BOB))

    for answer in worker_calls(scene, build_id, anns, lease):
        check_refused(answer, 401, "invalid_token", "superseded-token")
    for answer in worker_calls(scene, build_id, bobs, lease):
        check_refused(answer, 403, "insufficient_scope", "wrong-build")
    assert scene.show(build_id) == before


def test_one_builds_token_is_nothing_to_another_of_the_same_user(scene: Scene) -> None:
    _, token, lease = scene.running()
    other, _, other_lease = scene.running()
    waiting = scene.submit()
    own = scene.message(waiting)
    before = scene.show(other)

    for answer in worker_calls(scene, other, token, other_lease):
        check_refused(answer, 401, "invalid_token", "superseded-token")
    for answer in worker_calls(scene, other, token, lease)[1:]:
        check_refused(answer, 409, None, "lease-lost")
    check_refused(scene.claim(waiting, token), 401, "invalid_token", "superseded-token")
    assert scene.show(other) == before
    assert scene.claim(waiting, own).status_code == 200


def test_nothing_works_or_is_kept_when_the_build_has_ended(scene: Scene) -> None:
    build_id, token, lease = scene.running()
    assert kept(scene, build_id) == ATTEMPTS - 1
    held = {"Baton-Lease": lease}
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    result = {**RESULT, "log_sha256": sha256}
    ended = scene.call("PUT", f"/builds/{build_id}", token, headers=held, json=result)
    assert ended.status_code == 200, ended.text

    assert kept(scene, build_id) == 0
    check_refused(scene.claim(build_id, token), 410, None, "build-final")
    _, others, _ = scene.running()  # another build's of the same user hears no more than that
    for answer in worker_calls(scene, build_id, others, lease):
        check_refused(answer, 410, None, "build-final")


def test_a_build_whose_tokens_are_spent_ends_and_says_so(scene: Scene) -> None:
    build_id = scene.submit()
    used: list[str] = []
    for attempt in range(1, ATTEMPTS + 1):
        token = newest_message(scene, build_id, used)
        used.append(token)
        claimed = scene.claim(build_id, token)
        assert claimed.status_code == 200, claimed.text
        assert claimed.json()["attempt"] == attempt
        assert kept(scene, build_id) == ATTEMPTS - attempt
        held = {"Baton-Lease": claimed.json()["lease_id"]}
        scene.call("PUT", f"/builds/{build_id}", token, headers=held, json={"status": "queued"})

    wait_until(
        "the build has ended", lambda: scene.show(build_id)["status"] == "errored", seconds=60
    )
    build = scene.show(build_id)
    assert build["reason"] == "tokens_spent"
    assert "submit it again" in build["message"]
    assert len(set(used)) == ATTEMPTS


def newest_message(scene: Scene, build_id: str, seen: list[str]) -> str:
    found = scene.message(build_id)

    def another() -> bool:
        nonlocal found
        found = scene.message(build_id)
        return found not in seen

    wait_until("the next attempt is dispatched", another, seconds=60)
    return found
