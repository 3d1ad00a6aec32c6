"""What a thief or a liar gets: the right refusal, and nothing changed.

The API is a real process; the test plays provider (it can sign anything), worker (it takes build
tokens from the queue, as a worker would) and thief.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import pytest
import redis

from app.contract.queue import QUEUE, TOKEN_HEADER
from tests.authority import AUDIENCE, NAMESPACE, Authority, b64
from tests.e2e.user import steps
from tests.stack import Stack
from tests.waiting import wait_until

ANN, BOB = "auth0|ann", "auth0|bob"


@dataclass
class Scene:
    stack: Stack
    authority: Authority

    def call(self, method: str, path: str, token: str | None, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.request(method, self.stack.api_url + path, headers=headers, timeout=30, **more)

    def user(self, user: str = ANN, **changes: Any) -> str:
        return self.authority.sign(self.authority.user_claims(user, **changes))

    def submit(self, user: str = ANN) -> str:
        answer = self.call("POST", "/builds", self.user(user), json=steps("true"))
        assert answer.status_code == 202, answer.text
        build_id: str = answer.json()["id"]
        return build_id

    def message(self, build_id: str) -> str:
        """The build token in the message for a build, taken from the queue as a worker would."""
        found: dict[str, str] = {}

        def there() -> bool:
            with redis.Redis.from_url(self.stack.redis.url) as broker:
                for raw in broker.lrange(QUEUE, 0, -1):
                    message = json.loads(raw)
                    if build_id in message["headers"]["argsrepr"]:
                        sealed = message["headers"][TOKEN_HEADER]
                        token = self.stack.seal.open(sealed, purpose=build_id)
                        found.setdefault("token", token)  # the newest
            return "token" in found

        wait_until("the build is dispatched", there)
        return found["token"]

    def claim(self, build_id: str, token: str, nonce: str | None = None) -> httpx.Response:
        body = {"nonce": nonce or uuid.uuid4().hex, "worker": "the test"}
        return self.call("POST", f"/builds/{build_id}/claim", token, json=body)

    def running(self, user: str = ANN) -> tuple[str, str, str]:
        """A claimed build: its id, token and lease."""
        build_id = self.submit(user)
        token = self.message(build_id)
        answer = self.claim(build_id, token)
        assert answer.status_code == 200, answer.text
        return build_id, token, answer.json()["lease_id"]

    def show(self, build_id: str, user: str = ANN) -> dict[str, Any]:
        build: dict[str, Any] = self.call("GET", f"/builds/{build_id}", self.user(user)).json()
        return build


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Authority() as authority:
        stack = Stack(
            tmp_path_factory.mktemp("stack"),
            BATON_ISSUER=authority.issuer,
            BATON_LEASE="20",
            BATON_USER_CONCURRENCY="500",
            BATON_DISPATCH_WINDOW="500",
        )
        with stack.without_issuer():
            yield Scene(stack, authority)


RESULT = {"status": "succeeded", "log_length": 0, "log_sha256": "0" * 64}


def worker_calls(
    scene: Scene, build_id: str, token: str | None, lease: str
) -> list[httpx.Response]:
    """All that a worker can say, with this token."""
    held = {"Baton-Lease": lease}
    path = f"/builds/{build_id}"
    log = {**held, "Content-Range": "bytes 0-4/*"}
    progress = {"status": "running", "steps": []}
    return [
        scene.call("POST", f"{path}/claim", token, json={"nonce": "n" * 32, "worker": "thief"}),
        scene.call("POST", f"{path}/heartbeat", token, headers=dict(held)),
        scene.call("PATCH", f"{path}/log", token, headers=dict(log), content=b"stuff"),
        scene.call("PUT", path, token, headers=dict(held), json=progress),
        scene.call("PUT", path, token, headers=dict(held), json=RESULT),
        scene.call("POST", path, token, headers=dict(held), json=RESULT),
    ]


def user_calls(scene: Scene, build_id: str, token: str | None) -> list[httpx.Response]:
    path = f"/builds/{build_id}"
    return [
        scene.call("POST", "/builds", token, json=steps("true")),
        scene.call("GET", "/builds", token),
        scene.call("GET", path, token),
        scene.call("GET", f"{path}/log", token),
        scene.call("POST", f"{path}/cancel", token),
        scene.call("POST", f"{path}/retry", token),
    ]


def check_refused(answer: httpx.Response, status: int, error: str | None, code: str) -> None:
    request = f"{answer.request.method} {answer.request.url.path}"
    assert answer.status_code == status, (request, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:baton:problem:{code}", (request, answer.text)
    if status in {401, 403} or error:
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="baton"')
        assert "/.well-known/oauth-protected-resource" in challenge
        if error is None:
            assert "error=" not in challenge  # RFC 6750 §3.1
        else:
            assert f'error="{error}"' in challenge


Forge = Callable[[Authority, dict[str, Any]], str]

#: Tokens that are no good whoever they are for: a name, and how to make one from good claims.
BAD_TOKENS: dict[str, Forge] = {
    "rubbish": lambda _, __: "rubbish",
    "three parts of rubbish": lambda _, __: "a.b.c",
    "expired": lambda a, c: a.sign(c | {"exp": c["iat"] - 3600, "iat": c["iat"] - 7200}),
    "expires never": lambda a, c: a.sign({k: v for k, v in c.items() if k != "exp"}),
    "exp as text": lambda a, c: resigned(a, c | {"exp": str(c["exp"])}),
    "exp beyond time": lambda a, c: a.sign(c | {"exp": 10**300}),
    "not yet valid": lambda a, c: a.sign(c | {"nbf": c["iat"] + 3600}),
    "from the future": lambda a, c: a.sign(c | {"iat": c["iat"] + 3600}),
    "wrong issuer": lambda a, c: a.sign(c | {"iss": "https://evil.example.com/"}),
    "issuer without its slash": lambda a, c: a.sign(c | {"iss": c["iss"].rstrip("/")}),
    "wrong audience": lambda a, c: a.sign(c | {"aud": "https://other.example.com/"}),
    "no audience": lambda a, c: a.sign({k: v for k, v in c.items() if k != "aud"}),
    "audience that begins alike": lambda a, c: a.sign(c | {"aud": AUDIENCE + "x"}),
    "alg none": lambda a, c: a.unsigned(c),
    "alg nOnE": lambda a, c: a.unsigned(c, "nOnE"),
    "HS256 with the public key": lambda a, c: a.hmac_with_public_key(c),
    "another's signature": lambda a, c: a.sign_as_stranger(c),
    "no signature": lambda a, c: a.sign(c).rpartition(".")[0] + ".",
    "unknown kid": lambda a, c: a.sign(c, kid="no-such-key"),
    "embedded jwk": lambda a, c: a.sign_as_stranger(
        c, jwk=jwt.algorithms.RSAAlgorithm.to_jwk(a.stranger.public_key(), as_dict=True)
    ),
    "jku": lambda a, c: a.sign_as_stranger(c, jku="https://evil.example.com/jwks.json"),
    "x5u": lambda a, c: a.sign_as_stranger(c, x5u="https://evil.example.com/cert.pem"),
    "kid as a path": lambda a, c: a.sign_as_stranger(c, kid="../../dev/null"),
    "crit": lambda a, c: resigned(a, c, crit=["exp"]),
    "another type": lambda a, c: a.sign(c, typ="dpop+jwt"),
    "bound to a key": lambda a, c: a.sign(c | {"cnf": {"jkt": "x" * 43}}),
    "empty subject": lambda a, c: a.sign(c | {"sub": ""}),
    "padded": lambda a, c: a.sign(c) + "=",
    "payload changed": lambda a, c: changed_payload(a.sign(c)),
    "too long": lambda a, c: a.sign(c | {"more": "x" * 9000}),
    "duplicate name": lambda a, c: resigned_text(a, json.dumps(c)[:-1] + ', "sub": "auth0|bob"}'),
    "UTF-16": lambda a, c: resigned_bytes(a, json.dumps(c).encode("utf-16")),
}  # fmt: skip


def resigned(authority: Authority, claims: dict[str, Any], **header: Any) -> str:
    return resigned_bytes(authority, json.dumps(claims).encode(), **header)


def resigned_text(authority: Authority, payload: str) -> str:
    return resigned_bytes(authority, payload.encode())


def resigned_bytes(authority: Authority, payload: bytes, **more: Any) -> str:
    """Sign exactly these bytes, which no library would."""
    header = json.dumps({"alg": "RS256", "typ": "JWT", "kid": authority.kid, **more}).encode()
    signing_input = f"{b64(header)}.{b64(payload)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(signing_input.encode(), authority.key)
    return f"{signing_input}.{b64(signature)}"


def changed_payload(token: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(jwt.utils.base64url_decode(payload)) | {"sub": BOB}
    return f"{header}.{b64(json.dumps(claims).encode())}.{signature}"


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_bad_token_opens_no_call(scene: Scene, name: str) -> None:
    forge = BAD_TOKENS[name]
    build_id, _, lease = scene.running()
    before = scene.show(build_id)
    for_user = forge(scene.authority, scene.authority.user_claims())
    for_build = forge(scene.authority, scene.authority.build_claims(ANN, build_id))
    answers = user_calls(scene, build_id, for_user) + worker_calls(
        scene, build_id, for_build, lease
    )
    for answer in answers:
        check_refused(answer, 401, "invalid_token", "invalid-token")
        assert "evil" not in answer.text + answer.headers["www-authenticate"]
    assert scene.show(build_id) == before


def test_without_a_token_the_challenge_names_no_error(scene: Scene) -> None:
    build_id, _, lease = scene.running()
    for answer in user_calls(scene, build_id, None) + worker_calls(scene, build_id, None, lease):
        check_refused(answer, 401, None, "missing-token")


def test_a_token_belongs_into_one_header_and_nowhere_else(scene: Scene) -> None:
    token = scene.user()
    in_query = httpx.get(f"{scene.stack.api_url}/builds", params={"access_token": token})
    check_refused(in_query, 401, None, "missing-token")
    both = scene.call("GET", f"/builds?access_token={token}", token)
    check_refused(both, 400, "invalid_request", "invalid-request")
    twice = httpx.get(
        f"{scene.stack.api_url}/builds",
        headers=[("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")],
    )
    check_refused(twice, 400, "invalid_request", "invalid-request")
    basic = httpx.get(f"{scene.stack.api_url}/builds", auth=("user", "password"))
    check_refused(basic, 401, None, "missing-token")


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
