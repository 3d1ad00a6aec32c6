"""What one user, one address, or one client that takes its time gets of the API, and no more."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.scene import QUIET, Scene, worker_calls
from tests.e2e.user import steps
from tests.support.providers.authority import Authority
from tests.support.stack import Stack
from tests.support.waiting import wait_until

#: By the day, so that no window ends while a test looks.
USER_RATE, ADDRESS_RATE, QUEUE, STREAMS = 40, 30, 3, 2

BOUNDS = {
    "BATON_RATE_PER_USER": f"{USER_RATE}/day",
    "BATON_RATE_PER_ADDRESS": f"{ADDRESS_RATE}/day",
    "BATON_USER_QUEUE": str(QUEUE),
    "BATON_USER_STREAMS": str(STREAMS),
    "BATON_TRUSTED_PROXIES": "127.0.0.1 10.0.0.0/8",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Authority() as authority:
        stack = Stack(
            tmp_path_factory.mktemp("stack"),
            **{**QUIET, **BOUNDS, "BATON_ISSUER": authority.issuer},
        ).without_issuer()
        with stack:
            scene = Scene(stack, authority)
            with scene.http:
                yield scene


def check_too_many(answer: httpx.Response, policy: str, quota: int, code: str = "too-many") -> None:
    assert answer.status_code == 429, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:baton:problem:{code}"
    assert problem["violated-policies"] == [policy]
    assert str(quota) in problem["detail"]
    assert "BATON_" in problem["detail"]
    wait = int(answer.headers["retry-after"])
    assert 0 < wait <= 24 * 3600
    assert f'"{policy}";q={quota}' in answer.headers["ratelimit-policy"]
    assert f'"{policy}";r=0;t={wait}' in answer.headers["ratelimit"]


def from_address(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


# ── requests of a user ────────────────────────────────────────────────────────────────────────


def test_a_user_makes_so_many_requests_and_no_more(scene: Scene) -> None:
    greedy = scene.user("auth0|greedy")
    for number in range(1, USER_RATE + 1):
        answer = scene.call("GET", "/builds", greedy)
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == f'"user";q={USER_RATE};w=86400'
        assert answer.headers["ratelimit"].startswith(f'"user";r={USER_RATE - number};t=')
    for method, path in (("GET", "/builds"), ("POST", "/builds"), ("GET", "/builds/nothing")):
        check_too_many(scene.call(method, path, greedy, json={}), "user", USER_RATE)
    # Another token of the same user is no other user; another user is.
    again = scene.user("auth0|greedy", jti="another")
    check_too_many(scene.call("GET", "/builds", again), "user", USER_RATE)
    assert scene.call("GET", "/builds", scene.user("auth0|modest")).status_code == 200


def test_calls_that_a_token_does_not_allow_count_as_well(scene: Scene) -> None:
    reader = scene.user("auth0|reader", scope="read:builds")
    answers = [scene.call("POST", "/builds", reader, json={}) for _ in range(USER_RATE + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {403}
    check_too_many(answers[-1], "user", USER_RATE)


def test_replicas_count_together(scene: Scene) -> None:
    _, url = scene.stack.replica()
    token = scene.user("auth0|everywhere")
    headers = {"Authorization": f"Bearer {token}"}
    statuses = []
    for number in range(USER_RATE + 2):
        base = (scene.stack.api_url, url)[number % 2]
        statuses.append(scene.http.get(f"{base}/builds", headers=headers).status_code)
    assert statuses == [200] * USER_RATE + [429] * 2


# ── requests from an address ──────────────────────────────────────────────────────────────────


def test_an_address_is_refused_for_rubbish_but_never_a_valid_token(scene: Scene) -> None:
    build_id, build_token, lease = scene.running("auth0|neighbour")
    neighbour = scene.user("auth0|neighbour")
    here = from_address("192.0.2.1")
    forged = scene.authority.sign_as_stranger(scene.authority.user_claims())
    doors = [
        ("GET", "/builds", forged),
        ("GET", "/builds", None),
        ("POST", f"/builds/{build_id}/claim", forged),
        ("GET", "/openapi.json", None),
        ("GET", "/nowhere", None),
        ("PUT", "/builds", None),
    ]
    statuses = []
    for number in range(ADDRESS_RATE):
        method, path, token = doors[number % len(doors)]
        statuses.append(scene.call(method, path, token, headers=here).status_code)
    assert 429 not in statuses
    for method, path, token in doors:
        check_too_many(scene.call(method, path, token, headers=here), "address", ADDRESS_RATE)
    # The same address, with a token that is good: a user's, and a worker's in its heartbeat.
    assert scene.call("GET", "/builds", neighbour, headers=here).status_code == 200
    beat = {**here, "Baton-Lease": lease}
    answer = scene.call("POST", f"/builds/{build_id}/heartbeat", build_token, headers=beat)
    assert answer.status_code == 200
    # And whoever looks after this process.
    assert scene.call("GET", "/healthz", None, headers=here).status_code == 200
    assert scene.call("GET", "/readyz", None, headers=here).status_code == 200


def test_another_address_is_another_quota(scene: Scene) -> None:
    for last in range(ADDRESS_RATE + 5):
        answer = scene.call("GET", "/builds", None, headers=from_address(f"198.51.100.{last}"))
        assert answer.status_code == 401


def test_the_addresses_of_one_ipv6_customer_are_one(scene: Scene) -> None:
    answers = [
        scene.call("GET", "/builds", None, headers=from_address(f"2001:db8:0:1::{last:x}"))
        for last in range(ADDRESS_RATE + 1)
    ]
    check_too_many(answers[-1], "address", ADDRESS_RATE)


def test_the_address_is_the_last_one_that_no_trusted_proxy_has(scene: Scene) -> None:
    for number in range(ADDRESS_RATE):
        # What the client wrote itself stands before what the proxies added.
        here = from_address(f"203.0.113.{number}, 192.0.2.99, 10.1.2.3")
        assert scene.call("GET", "/builds", None, headers=here).status_code == 401
    check_too_many(
        scene.call("GET", "/builds", None, headers=from_address("192.0.2.99")),
        "address", ADDRESS_RATE,
    )  # fmt: skip


def test_without_trusted_proxies_nobody_says_where_he_comes_from(scene: Scene) -> None:
    part, url = scene.stack.replica()
    part.stop()
    part.env.pop("BATON_TRUSTED_PROXIES")
    part.start()
    scene.stack.wait_ready(url)
    answers = [
        scene.http.get(f"{url}/builds", headers=from_address(f"203.0.113.{number}"))
        for number in range(ADDRESS_RATE + 1)
    ]
    check_too_many(answers[-1], "address", ADDRESS_RATE)


# ── queued builds, streams, bodies ────────────────────────────────────────────────────────────


def test_a_user_has_so_many_builds_queued_and_no_more(scene: Scene) -> None:
    hoarder = scene.user("auth0|hoarder")
    bodies = [steps(f"echo {number}") for number in range(QUEUE)]
    ids = []
    for number, body in enumerate(bodies):
        answer = scene.call(
            "POST", "/builds", hoarder, json=body, headers={"Idempotency-Key": f"k{number}"}
        )
        assert answer.status_code == 202
        ids.append(answer.json()["id"])

    check_too_many(
        scene.call("POST", "/builds", hoarder, json=steps("true")), "queue", QUEUE, "queue-full"
    )
    check_too_many(
        scene.call("POST", f"/builds/{ids[0]}/retry", hoarder), "queue", QUEUE, "queue-full"
    )
    # What was accepted stays accepted, however often it is said.
    for number, body in enumerate(bodies):
        again = scene.call(
            "POST", "/builds", hoarder, json=body, headers={"Idempotency-Key": f"k{number}"}
        )
        assert (again.status_code, again.json()["id"]) == (202, ids[number])
    # A refused submission leaves nothing: neither a build nor its key.
    refused = {"json": steps("true"), "headers": {"Idempotency-Key": "refused"}}
    assert scene.call("POST", "/builds", hoarder, **refused).status_code == 429
    assert len(scene.call("GET", "/builds", hoarder).json()["builds"]) == QUEUE
    assert scene.call("POST", f"/builds/{ids[1]}/cancel", hoarder).status_code == 200
    assert scene.call("POST", "/builds", hoarder, **refused).status_code == 202
    # Others have room.
    assert scene.submit("auth0|thrifty")


def test_a_running_build_does_not_fill_the_queue(scene: Scene) -> None:
    user = "auth0|busy"
    scene.running(user)
    for _ in range(QUEUE):
        scene.submit(user)
    answer = scene.call("POST", "/builds", scene.user(user), json=steps("true"))
    check_too_many(answer, "queue", QUEUE, "queue-full")


def test_a_user_follows_so_much_at_once_and_no_more(scene: Scene) -> None:
    build_id, _, _ = scene.running("auth0|watcher")
    headers = {"Authorization": f"Bearer {scene.user('auth0|watcher')}"}
    url = f"{scene.stack.api_url}/builds/{build_id}/log?follow=1"

    def follow() -> int:
        with scene.http.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 429:
                answer.read()
                check_too_many(answer, "streams", STREAMS, "too-many-streams")
            return answer.status_code

    with scene.http.stream("GET", url, headers=headers) as one:
        with scene.http.stream("GET", url, headers=headers) as other:
            assert (one.status_code, other.status_code) == (200, 200)
            assert follow() == 429
            # The whole of what there is has an end, and is no stream.
            whole = scene.call("GET", f"/builds/{build_id}/log", scene.user("auth0|watcher"))
            assert whole.status_code == 200
        wait_until("its place is free", lambda: follow() == 200, every=1)


def test_a_worker_makes_as_many_calls_as_it_has_to(scene: Scene) -> None:
    """None of them counts as its user's or its address's."""
    build_id, token, lease = scene.running("auth0|owner")
    here = from_address("192.0.2.50")
    for _ in range(2 * max(USER_RATE, ADDRESS_RATE)):
        answer = scene.call(
            "POST",
            f"/builds/{build_id}/heartbeat",
            token,
            headers={**here, "Baton-Lease": lease},
        )
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers
    assert scene.call("GET", "/builds", scene.user("auth0|owner"), headers=here).status_code == 200


def test_refused_workers_calls_change_nothing(scene: Scene) -> None:
    build_id, _, lease = scene.running("auth0|target")
    before = scene.records()
    forged = scene.authority.sign_as_stranger(
        scene.authority.build_claims("auth0|target", build_id)
    )
    heard = [
        answer.status_code
        for _ in range(ADDRESS_RATE)
        for answer in worker_calls(scene, build_id, forged, lease)
    ]
    assert set(heard) <= {401, 429} and heard[-1] == 429
    assert scene.records() == before


def test_the_document_names_the_refusals(scene: Scene) -> None:
    answer = scene.call("GET", "/openapi.json", None, headers=from_address("192.0.2.77"))
    document = json.loads(answer.text)
    submit = document["paths"]["/builds"]["post"]["responses"]["429"]
    assert "queue-full" in submit["description"]
    assert set(submit["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}
    assert "429" not in document["paths"]["/healthz"]["get"]["responses"]
