"""A user of the API, over plain HTTP."""

from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.stack import Stack
from tests.support.waiting import wait_until

FINAL = {"succeeded", "failed", "errored", "timed_out", "cancelled"}


def steps(*scripts: str, **more: Any) -> dict[str, Any]:
    """A spec whose steps are named after their place."""
    return {"steps": [{"name": f"step {n}", "run": run} for n, run in enumerate(scripts)], **more}


class User:
    def __init__(self, stack: Stack, name: str = "ann") -> None:
        self.stack = stack
        self.id = f"auth0|{name}"
        self.token = stack.token(name)
        self.http: httpx.Client = stack.http(self.token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.stack.logs())  # noqa: T201  pytest shows it with the failure
        self.http.close()

    def submit(self, spec: dict[str, Any]) -> str:
        answer = self.http.post("/builds", json=spec)
        assert answer.status_code == 202, answer.text
        build_id: str = answer.json()["id"]
        assert answer.headers["location"] == f"/builds/{build_id}"
        return build_id

    def show(self, build_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/builds/{build_id}")
        assert answer.status_code == 200, answer.text
        build: dict[str, Any] = answer.json()
        return build

    def log(self, build_id: str) -> str:
        answer = self.http.get(f"/builds/{build_id}/log")
        assert answer.status_code == 200, answer.text
        return answer.content.decode(errors="replace")

    def cancel(self, build_id: str) -> dict[str, Any]:
        answer = self.http.post(f"/builds/{build_id}/cancel")
        assert answer.is_success, answer.text
        build: dict[str, Any] = answer.json()
        return build

    def wait_for(self, build_id: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """The build once it is in one of `statuses` (default: any final one)."""
        wanted = set(statuses) or FINAL
        seen: dict[str, Any] = {}

        def there() -> bool:
            try:
                answer = self.http.get(f"/builds/{build_id}")
            except httpx.HTTPError:
                return False  # some stories take the API away
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return False  # and some the store
            assert answer.status_code == httpx.codes.OK, answer.text
            seen.update(answer.json())
            return seen["status"] in wanted

        try:
            wait_until(f"the build is {' or '.join(sorted(wanted))}", there, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the build: {seen}\n{self.stack.logs()}") from None
        return seen

    def wait_for_log(self, build_id: str, text: str, *, seconds: float = 30) -> None:
        def there() -> bool:
            try:
                return text in self.http.get(f"/builds/{build_id}/log").text
            except httpx.HTTPError:
                return False

        wait_until(f"the log says {text!r}", there, seconds=seconds)

    def run(self, spec: dict[str, Any], *, seconds: float = 60) -> dict[str, Any]:
        return self.wait_for(self.submit(spec), seconds=seconds)
