"""Where thieves and liars try their luck: the API is a real process over a real Redis.

The test plays provider (it can sign anything), worker (it takes build tokens from the queue, as a
worker would) and thief.
"""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis

from app.api.operation import BUILD_TOKEN
from app.api.routes import OPERATIONS
from app.builds.store import keys
from app.contract import paths
from app.contract.queue import QUEUE, TOKEN_HEADER
from tests.e2e.user import steps
from tests.support.providers.authority import Authority
from tests.support.stack import Stack
from tests.support.waiting import wait_until

ANN, BOB = "auth0|ann", "auth0|bob"
RESULT = {"status": "succeeded", "log_length": 0, "log_sha256": "0" * 64}

#: Hours: nothing but the requests of a test changes anything in the store.
QUIET = {
    "BATON_LEASE": "14400",
    "BATON_REPORT_WINDOW": "14400",
    "BATON_QUEUE_TTL": "14400",
    "BATON_USER_CONCURRENCY": "500",
    "BATON_DISPATCH_WINDOW": "500",
}


@dataclass
class Scene:
    stack: Stack
    authority: Authority
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))

    def call(self, method: str, path: str, token: str | None, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers[b"Authorization"] = b"Bearer " + token.encode("latin-1")
        return self.http.request(method, self.stack.api_url + path, headers=headers, **more)

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

        wait_until("the build is dispatched", there, seconds=60)
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

    def records(self) -> dict[bytes, object]:
        """Everything in store and broker, except who called how often."""
        with redis.Redis.from_url(self.stack.redis.url) as store:
            calls = keys.RATES.encode()
            names = [name for name in store.scan_iter(count=1000) if not name.startswith(calls)]
            return {name: _value(store, name) for name in sorted(names)}


def _value(store: redis.Redis, name: bytes) -> object:
    match store.type(name):
        case b"string":
            return store.get(name)
        case b"hash":
            return store.hgetall(name)
        case b"list":
            return store.lrange(name, 0, -1)
        case b"set":
            return store.smembers(name)
        case b"zset":
            return store.zrange(name, 0, -1, withscores=True)
        case other:
            raise AssertionError(f"a key of type {other!r}")


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
        scene.call("POST", f"{path}/heartbeat", token, headers=held),
        scene.call("PATCH", f"{path}/log", token, headers=log, content=b"stuff"),
        scene.call("PUT", path, token, headers=held, json=progress),
        scene.call("PUT", path, token, headers=held, json=RESULT),
        scene.call("POST", path, token, headers=held, json=RESULT),
    ]


def user_calls(scene: Scene, build_id: str, token: str | None) -> list[httpx.Response]:
    """All that a user can say, with this token."""
    answers = []
    for each in OPERATIONS:
        if each.token and each.token != BUILD_TOKEN:
            body = {"json": steps("true")} if each.request_model else {}
            answers.append(scene.call(each.method, paths.of(each.path, build_id), token, **body))
    assert len(answers) >= 6
    return answers


def check_refused(answer: httpx.Response, status: int, error: str | None, code: str) -> None:
    """Problem details, and a challenge as RFC 6750 §3 has it, with `error` as its code or none."""
    request = f"{answer.request.method} {answer.request.url.path}"
    assert answer.status_code == status, (request, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:baton:problem:{code}", (request, answer.text)
    assert answer.headers["cache-control"] == "no-store"
    if status in {401, 403} or error:
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="baton"')
        assert "/.well-known/oauth-protected-resource" in challenge
        if error is None:
            assert "error" not in challenge  # RFC 6750 §3.1
        else:
            assert f'error="{error}"' in challenge
    else:
        assert "www-authenticate" not in answer.headers
