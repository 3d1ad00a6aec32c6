"""What a thief or a liar gets with a token that is good, but not for this: a refusal, no change.

Tokens that are good for nothing are in `test_bad_tokens`.
"""

from collections.abc import Iterator

import pytest
import redis

from tests.e2e.scene import ANN, BOB, Scene, check_refused, user_calls, worker_calls
from tests.e2e.user import steps
from tests.support.providers.authority import AUDIENCE, NAMESPACE, Authority
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Authority() as authority:
        stack = Stack(
            tmp_path_factory.mktemp("stack"),
            BATON_ISSUER=authority.issuer,
            BATON_LEASE="10",
            BATON_USER_CONCURRENCY="500",
            BATON_DISPATCH_WINDOW="500",
        )
        with stack.without_issuer():
            scene = Scene(stack, authority)
            with scene.http:
                yield scene


@pytest.mark.parametrize(
    "scope", ["", "xupdate:builds", "update:buildsx read:build", "UPDATE:BUILDS"]
)
def test_a_scope_counts_only_as_a_whole_word(scene: Scene, scope: str) -> None:
    build_id, _, lease = scene.running()
    before = scene.show(build_id)
    user = scene.user(scope=scope)
    for answer in user_calls(scene, build_id, user):
        check_refused(answer, 403, "insufficient_scope", "insufficient-scope")
    forged = scene.authority.sign(scene.authority.build_claims(ANN, build_id, scope=scope))
    for answer in worker_calls(scene, build_id, forged, lease):
        check_refused(answer, 403, "insufficient_scope", "insufficient-scope")
        assert 'scope="update:builds"' in answer.headers["www-authenticate"]
    assert scene.show(build_id) == before


def test_what_a_user_does_not_hold_cannot_be_delegated(scene: Scene) -> None:
    token = scene.user(scope="openid read:builds create:builds")
    answer = scene.call("POST", "/builds", token, json=steps("true"))
    check_refused(answer, 403, "insufficient_scope", "insufficient-scope")
    assert "update:builds" in answer.json()["detail"]
    assert 'scope="update:builds"' in answer.headers["www-authenticate"]


def test_a_user_token_never_works_on_a_workers_calls(scene: Scene) -> None:
    build_id, _, lease = scene.running()
    before = scene.show(build_id)
    forged = {
        f"{NAMESPACE}user_id": ANN,
        f"{NAMESPACE}build_id": build_id,
    }
    for token in (
        scene.user(),
        scene.user(**forged),
        scene.user(**forged, scope="update:builds", aud=AUDIENCE),
        scene.user(**forged, scope="update:builds", aud=AUDIENCE, azp="other-client"),
        scene.user(
            "other-client@clients", **forged,
            scope="update:builds", aud=AUDIENCE, azp="other-client", gty="client-credentials",
        ),
        scene.user(**forged, scope="update:builds", aud=AUDIENCE, azp="baton-api"),
    ):  # fmt: skip
        for answer in worker_calls(scene, build_id, token, lease):
            check_refused(answer, 403, "insufficient_scope", "wrong-token-kind")
    assert scene.show(build_id) == before


def test_a_build_token_never_works_on_a_users_calls(scene: Scene) -> None:
    build_id, token, _ = scene.running()
    before = scene.show(build_id)
    wide = scene.authority.sign(
        scene.authority.build_claims(ANN, build_id, scope="read:builds create:builds update:builds")
    )
    for one in (token, wide):
        for answer in user_calls(scene, build_id, one):
            check_refused(answer, 403, "insufficient_scope", "wrong-token-kind")
    assert scene.show(build_id) == before


def test_a_build_token_with_more_than_its_scope_is_no_build_token(scene: Scene) -> None:
    build_id, _, lease = scene.running()
    wide = scene.authority.sign(
        scene.authority.build_claims(ANN, build_id, scope="update:builds read:builds")
    )
    for answer in worker_calls(scene, build_id, wide, lease):
        check_refused(answer, 403, "insufficient_scope", "insufficient-scope")


def test_one_builds_token_is_nothing_to_another(scene: Scene) -> None:
    first, token, lease = scene.running()
    second, _, other_lease = scene.running()
    strangers, _, strangers_lease = scene.running(BOB)
    before = [scene.show(first), scene.show(second), scene.show(strangers, BOB)]
    for build_id, a_lease in ((second, other_lease), (second, lease), (strangers, strangers_lease)):
        for answer in worker_calls(scene, build_id, token, a_lease):
            check_refused(answer, 403, "insufficient_scope", "wrong-build")
    assert [scene.show(first), scene.show(second), scene.show(strangers, BOB)] == before


def test_a_token_that_the_api_did_not_order_is_refused(scene: Scene) -> None:
    """Another client of the provider could ask it for a token with any claims."""
    build_id, _, lease = scene.running()
    before = scene.show(build_id)
    minted = scene.authority.sign(scene.authority.build_claims(ANN, build_id, extra="x"))
    for answer in worker_calls(scene, build_id, minted, lease):
        check_refused(answer, 401, "invalid_token", "superseded-token")
    for_bob = scene.authority.sign(scene.authority.build_claims(BOB, build_id))
    for answer in worker_calls(scene, build_id, for_bob, lease):
        check_refused(answer, 403, "insufficient_scope", "wrong-build")
    assert scene.show(build_id) == before


def test_the_right_token_with_anothers_lease_is_refused(scene: Scene) -> None:
    build_id, token, _ = scene.running()
    _, _, other_lease = scene.running()
    before = scene.show(build_id)
    claim, *writes = worker_calls(scene, build_id, token, other_lease)
    check_refused(claim, 409, None, "held-by-another")
    for answer in writes:
        check_refused(answer, 409, None, "lease-lost")
    assert scene.show(build_id) == before


def test_after_the_result_the_token_is_worth_nothing(scene: Scene) -> None:
    build_id, token, lease = scene.running()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    result = {"status": "failed", "log_length": 0, "log_sha256": empty}
    headers = {"Baton-Lease": lease}
    for _ in range(2):  # the same result again is fine, and changes nothing
        answer = scene.call("PUT", f"/builds/{build_id}", token, headers=dict(headers), json=result)
        assert answer.status_code == 200, answer.text
    before = scene.show(build_id)
    claim, heartbeat, log, progress, put, post = worker_calls(scene, build_id, token, lease)
    for answer in (claim, heartbeat, log, progress):
        check_refused(answer, 410, None, "build-final")
    for answer in (put, post):
        check_refused(answer, 409, None, "result-conflict")
        assert answer.json()["recorded"]["status"] == "failed"
    assert scene.show(build_id) == before


def test_an_earlier_attempts_token_is_nothing_to_a_later_one(scene: Scene) -> None:
    stack = scene.stack
    build_id, first, first_lease = scene.running()
    with redis.Redis.from_url(stack.redis.url) as store:
        store.zadd("{baton}:leases", {build_id: 0})  # its lease runs out at once

    def second_token() -> str | None:
        token = scene.message(build_id)
        return token if token != first else None

    wait_until("the second attempt is dispatched", second_token, seconds=90)
    second = scene.message(build_id)
    claim, *writes = worker_calls(scene, build_id, first, first_lease)
    check_refused(claim, 401, "invalid_token", "superseded-token")
    for answer in writes:
        check_refused(answer, 409, None, "lease-lost")

    claimed = scene.claim(build_id, second)
    assert claimed.status_code == 200, claimed.text
    assert claimed.json()["attempt"] == 2
    before = scene.show(build_id)
    claim, *writes = worker_calls(scene, build_id, first, first_lease)
    check_refused(claim, 401, "invalid_token", "superseded-token")
    for answer in writes:
        check_refused(answer, 409, None, "lease-lost")
    for answer in worker_calls(scene, build_id, first, claimed.json()["lease_id"]):
        check_refused(answer, 401, "invalid_token", "superseded-token")
    assert scene.show(build_id) == before
