"""Builds for the browser to look at, submitted over the API."""

from typing import Any

from tests.support.stack import Stack
from tests.support.waiting import wait_until

_FINAL = {"succeeded", "failed", "errored", "timed_out", "cancelled"}


def submit(stack: Stack, *steps: tuple[str, str], user: str = "ann", **spec: Any) -> str:
    """A build of `(name, script)` steps; returns its id."""
    body = {"steps": [{"name": name, "run": run} for name, run in steps], **spec}
    with stack.http(stack.token(user)) as http:
        answer = http.post("/builds", json=body)
    assert answer.status_code == 202, answer.text
    build_id: str = answer.json()["id"]
    return build_id


def build(stack: Stack, build_id: str, *, user: str = "ann") -> dict[str, Any]:
    with stack.http(stack.token(user)) as http:
        found: dict[str, Any] = http.get(f"/builds/{build_id}").json()
    return found


def ended(stack: Stack, build_id: str, *, user: str = "ann") -> dict[str, Any]:
    """The build, once it has ended."""
    with stack.http(stack.token(user)) as http:

        def final() -> dict[str, Any] | None:
            found: dict[str, Any] = http.get(f"/builds/{build_id}").json()
            return found if found["status"] in _FINAL else None

        found = wait_until("the build has ended", final, seconds=120)
    assert found
    return found


def ran(stack: Stack, *steps: tuple[str, str], user: str = "ann", **spec: Any) -> str:
    """The id of a build that has ended."""
    build_id = submit(stack, *steps, user=user, **spec)
    ended(stack, build_id, user=user)
    return build_id


_INSTALL = r"""
echo '::group::Resolve packages'
for i in $(seq 40); do echo "resolve package-$i"; done
echo '::endgroup::'
printf 'fetch  10%%\rfetch  55%%\rfetch 100%%\n'
printf '\033[32m✓\033[0m installed \033[1m214 packages\033[0m in 1.8 s\n'
"""
_TEST = r"""
for i in account basket catalogue checkout mail search; do
  printf '\033[32mPASS\033[0m  tests/test_%s.py  \033[2m(%s tests)\033[0m\n' $i ${#i}
done
printf '\033[1;31mFAIL\033[0m  tests/test_payment.py\n'
echo '      assert answer.status == 200'
printf '\033[31mAssertionError: expected 200, got 500\033[0m\n'
echo '::error file=tests/test_payment.py,line=41::expected 200, got 500'
printf '\n\033[1m1 failed, 37 passed\033[0m in 4.2 s\n'
exit 1
"""

#: One of everything that a log may hold; its second step fails.
STORY = (("install", _INSTALL), ("test", _TEST), ("deploy", "echo deploying"))
