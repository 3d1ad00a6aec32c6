"""Every token of `tests.bad_tokens` at every door: 401, the right challenge, nothing changed.

So are requests whose token is good but comes in a wrong way (RFC 6750 §2).
"""

import json
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.bad_tokens import BAD_TOKENS
from tests.bad_tokens.kinds import MACHINES, NEARLY_BUILDS, WRONG_KIND, PubSub
from tests.e2e.prey import Prey
from tests.e2e.scene import ANN, check_refused, user_calls, worker_calls
from tests.support.providers.authority import Authority, b64
from tests.support.providers.forged import header_of, signature


def forged(authority: Authority, name: str, build_id: str) -> tuple[str, str]:
    """The bad token as a user's and as a build's."""
    forge = BAD_TOKENS[name]
    for_user = forge(authority, authority.user_claims())
    return for_user, forge(authority, authority.build_claims(ANN, build_id))


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_bad_token_opens_no_call(prey: Prey, name: str) -> None:
    for_user, for_build = forged(prey.scene.authority, name, prey.build_id)
    answers = user_calls(prey.scene, prey.build_id, for_user)
    answers += worker_calls(prey.scene, prey.build_id, for_build, prey.lease)
    for answer in answers:
        check_refused(answer, 401, "invalid_token", "invalid-token")
        said = answer.text + str(answer.headers)
        # Nothing of a token is ever repeated (RFC 6750 §3, RFC 9700 §4.9.3).
        assert not any(word in said for word in ("evil", "passwd", "x-injected", "UNION", "7*7"))
    prey.check_nothing_changed()


def changed(claims: dict[str, Any], changes: PubSub) -> dict[str, Any]:
    return {name: value for name, value in (claims | changes).items() if value is not None}


@pytest.mark.parametrize("name", MACHINES)
def test_a_machines_token_opens_no_call_of_a_users(prey: Prey, name: str) -> None:
    authority = prey.scene.authority
    token = authority.sign(changed(authority.user_claims(), MACHINES[name]))
    for answer in user_calls(prey.scene, prey.build_id, token):
        check_refused(answer, *WRONG_KIND)
    prey.check_nothing_changed()


@pytest.mark.parametrize("name", NEARLY_BUILDS)
def test_what_is_nearly_the_builds_token_opens_no_call_of_its_worker(prey: Prey, name: str) -> None:
    changes, refusal = NEARLY_BUILDS[name]
    authority = prey.scene.authority
    claims = changed(authority.build_claims(ANN, prey.build_id), changes(prey.build_id))
    for answer in worker_calls(prey.scene, prey.build_id, authority.sign(claims), prey.lease):
        check_refused(answer, *refusal)
    prey.check_nothing_changed()


def test_there_are_more_than_a_hundred_and_fifty_of_them() -> None:
    with Authority() as authority:
        tokens = {
            token for name in BAD_TOKENS for token in forged(authority, name, "bld_" + "0" * 26)
        }
    assert len(BAD_TOKENS) >= 150
    assert len(tokens) > 500  # only rubbish is the same for both


def test_the_doors_open_for_good_tokens(prey: Prey) -> None:
    """Else all of this would say nothing. The scheme's case does not matter (RFC 9110 §11.1)."""
    scene = prey.scene
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
        headers = {"Authorization": f"{scheme} {scene.user()}"}
        assert scene.http.get(f"{scene.stack.api_url}/builds", headers=headers).is_success
    path = f"/builds/{prey.build_id}"
    for answer in (
        scene.call("GET", path, scene.user()),
        scene.call("GET", f"{path}/log", scene.user()),
        scene.call("HEAD", f"{path}/log", scene.user()),
        scene.call("POST", f"{path}/heartbeat", prey.token, headers={"Baton-Lease": prey.lease}),
    ):
        assert answer.status_code == 200, answer.text
    prey.before = scene.records()  # the lease was renewed


#: What is sent beside the URL and expected of `GET /builds`: headers, status, error, code. `TOKEN`
#: stands for a good token.
Sent = list[tuple[str, str]]
NO_TOKEN = (401, None, "missing-token")
MALFORMED = (400, "invalid_request", "invalid-request")
TRANSPORTS: Final[dict[str, tuple[Sent, tuple[int, str | None, str]]]] = {
    "nothing": ([], NO_TOKEN),
    "Authorization empty": ([("Authorization", "")], NO_TOKEN),
    "only the token": ([("Authorization", "TOKEN")], NO_TOKEN),
    "Basic": ([("Authorization", "Basic dXNlcjpwYXNzd29yZA==")], NO_TOKEN),
    "Basic with a token": ([("Authorization", "Basic TOKEN")], NO_TOKEN),
    "Token": ([("Authorization", "Token TOKEN")], NO_TOKEN),
    "Digest": ([("Authorization", 'Digest username="ann"')], NO_TOKEN),
    "Negotiate": ([("Authorization", "Negotiate TOKEN")], NO_TOKEN),
    "BearerX": ([("Authorization", "BearerX TOKEN")], NO_TOKEN),
    "Bear": ([("Authorization", "Bear TOKEN")], NO_TOKEN),
    "Bearer and a colon": ([("Authorization", "Bearer: TOKEN")], NO_TOKEN),
    "Bearer and an equals sign": ([("Authorization", "Bearer=TOKEN")], NO_TOKEN),
    "Bearer and a tab": ([("Authorization", "Bearer\tTOKEN")], NO_TOKEN),
    "X-Authorization": ([("X-Authorization", "Bearer TOKEN")], NO_TOKEN),
    "Proxy-Authorization": ([("Proxy-Authorization", "Bearer TOKEN")], NO_TOKEN),
    "X-Access-Token": ([("X-Access-Token", "TOKEN")], NO_TOKEN),
    "X-Forwarded-User": ([("X-Forwarded-User", "auth0|ann")], NO_TOKEN),
    "a cookie": ([("Cookie", "access_token=TOKEN; Authorization=Bearer TOKEN")], NO_TOKEN),
    "Bearer alone": ([("Authorization", "Bearer")], MALFORMED),
    "two tokens": ([("Authorization", "Bearer TOKEN TOKEN")], MALFORMED),
    "two tokens, a comma between": ([("Authorization", "Bearer TOKEN, Bearer TOKEN")], MALFORMED),
    "a token and a parameter": ([("Authorization", 'Bearer TOKEN realm="baton"')], MALFORMED),
    "Bearer twice": ([("Authorization", "Bearer Bearer TOKEN")], MALFORMED),
    "two headers": ([("Authorization", "Bearer TOKEN")] * 2, MALFORMED),
    "two headers, one wrong": (
        [("Authorization", "Bearer TOKEN"), ("Authorization", "Bearer x")],
        MALFORMED,
    ),
    "two headers, one Basic": (
        [("Authorization", "Basic dXNlcjpwYXNzd29yZA=="), ("Authorization", "Bearer TOKEN")],
        MALFORMED,
    ),
    "two headers, one empty": (
        [("Authorization", "Bearer TOKEN"), ("authorization", "")],
        MALFORMED,
    ),
}


def list_builds(prey: Prey, headers: Sent, query: str = "") -> httpx.Response:
    token = prey.scene.user()
    filled = [(name, value.replace("TOKEN", token)) for name, value in headers]
    url = f"{prey.scene.stack.api_url}/builds{query.replace('TOKEN', token)}"
    return prey.scene.http.get(url, headers=filled)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_token_is_taken_from_one_authorization_header_alone(prey: Prey, name: str) -> None:
    headers, expected = TRANSPORTS[name]
    check_refused(list_builds(prey, headers), *expected)
    prey.check_nothing_changed()


@pytest.mark.parametrize(
    ("query", "with_header", "expected"),
    [
        ("?access_token=TOKEN", False, NO_TOKEN),
        ("?token=TOKEN", False, NO_TOKEN),
        ("?Authorization=Bearer+TOKEN", False, NO_TOKEN),
        ("?access_token=TOKEN", True, MALFORMED),
        ("?limit=1&access_token=TOKEN", True, MALFORMED),
        ("?access_token=", True, MALFORMED),
        ("?access_token", True, MALFORMED),
        ("?access%5Ftoken=TOKEN", True, MALFORMED),
    ],
)
def test_a_token_in_the_url_counts_for_nothing_and_against_the_request(
    prey: Prey, query: str, with_header: bool, expected: tuple[int, str | None, str]
) -> None:
    headers = [("Authorization", "Bearer TOKEN")] if with_header else []
    check_refused(list_builds(prey, headers, query), *expected)


def test_a_token_in_a_form_counts_for_nothing(prey: Prey) -> None:
    form = {"access_token": prey.scene.user()}
    url = f"{prey.scene.stack.api_url}/builds"
    check_refused(prey.scene.http.post(url, data=form), *NO_TOKEN)
    both = prey.scene.call("POST", "/builds", prey.scene.user(), data=form)
    check_refused(both, 415, None, "unsupported-media-type")
    prey.check_nothing_changed()


def test_without_a_token_no_door_names_an_error(prey: Prey) -> None:
    answers = user_calls(prey.scene, prey.build_id, None)
    for answer in answers + worker_calls(prey.scene, prey.build_id, None, prey.lease):
        check_refused(answer, *NO_TOKEN)
    prey.check_nothing_changed()


# ── what nobody thought of ────────────────────────────────────────────────────────────────────

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
HEADER_NAMES = ["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "cty", "zip", "p2c"]
CLAIM_NAMES = [
    *("iss", "sub", "aud", "exp", "nbf", "iat", "azp", "client_id", "gty", "scope", "jti"),
    *("cnf", "act", "https://example.com/user_id", "https://example.com/build_id"),
]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    header=st.dictionaries(st.sampled_from(HEADER_NAMES), JSON_VALUES, max_size=2),
    claims=st.dictionaries(st.sampled_from(CLAIM_NAMES), JSON_VALUES, max_size=3),
    for_build=st.booleans(),
)
def test_whatever_a_token_holds_nothing_breaks_and_nothing_changes(
    prey: Prey, header: dict[str, Any], claims: dict[str, Any], for_build: bool
) -> None:
    scene, authority = prey.scene, prey.scene.authority
    good = authority.build_claims(ANN, prey.build_id) if for_build else authority.user_claims()
    head = json.dumps(header_of(authority) | header).encode()
    signing_input = f"{b64(head)}.{b64(json.dumps(good | claims).encode())}"
    token = f"{signing_input}.{b64(signature(authority, signing_input))}"
    path = f"/builds/{prey.build_id}"
    claim = {"nonce": "n" * 32, "worker": "thief"}
    for answer in (
        scene.call("GET", path, token),  # a changed `nbf` or `jti` may leave the token good
        scene.call("POST", f"{path}/claim", token, json=claim),
    ):
        assert answer.status_code in {200, 400, 401, 403, 404}, (header, claims, answer.text)
    assert answer.status_code != 200
    prey.check_nothing_changed()
