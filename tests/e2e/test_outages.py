"""Parts that die in the middle of a build: one final result, one complete log."""

import signal
import time

import httpx

from tests.e2e.user import User, steps
from tests.support.stack import Stack
from tests.support.waiting import wait_until

#: Prints 40 numbered lines in about four seconds.
COUNTING = "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.1; done"


def numbers(log: str) -> list[int]:
    return [
        int(line.removeprefix("line ")) for line in log.splitlines() if line.startswith("line ")
    ]


def test_a_worker_killed_in_the_middle_is_replaced_with_a_new_token(own: Stack) -> None:
    first = own.worker()
    with User(own) as ann:
        build_id = ann.submit(steps('echo "attempt here"; sleep 6; echo done'))
        ann.wait_for_log(build_id, "attempt here")
        before = ann.show(build_id)
        first.stop(signal.SIGKILL)
        own.worker()
        build = ann.wait_for(build_id, seconds=90)

        assert build["status"] == "succeeded"
        assert build["attempt"] == 2
        [lost] = build["attempts"]
        assert (lost["attempt"], lost["reason"]) == (1, "worker_lost")
        assert build["worker"] != before["worker"]
        assert build["token"]["issued_at"] > before["token"]["issued_at"]
        log = ann.log(build_id)
        assert log.count("attempt here") == 2
        assert log.count("done") == 1
        assert "attempt 1 ended: its worker fell silent" in log


def test_the_api_may_restart_in_the_middle(own: Stack) -> None:
    own.worker()
    with User(own) as ann:
        build_id = ann.submit(steps(COUNTING))
        ann.wait_for_log(build_id, "line 5")
        own.api.stop(signal.SIGKILL)
        time.sleep(1.5)  # lines go on being printed that nobody takes
        own.start_api()
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)
        assert numbers(ann.log(build_id)) == list(range(40))


def test_the_store_may_restart_in_the_middle(own: Stack) -> None:
    own.worker()
    with User(own) as ann:
        build_id = ann.submit(steps(COUNTING))
        ann.wait_for_log(build_id, "line 5")
        own.redis.stop(signal.SIGTERM)
        refused = ann.http.post("/builds", json=steps("true"))
        assert (refused.status_code, refused.json()["type"]) == (
            503,
            "urn:baton:problem:unavailable",
        )
        assert int(refused.headers["retry-after"]) > 0
        own.redis.start()
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)
        assert numbers(ann.log(build_id)) == list(range(40))
        assert ann.run(steps("true"))["status"] == "succeeded"


def test_builds_wait_while_the_issuer_is_away_and_say_so(own: Stack) -> None:
    own.worker()
    with User(own) as ann:
        assert ann.run(steps("true"))["status"] == "succeeded"  # its keys are known now
        own.issuer.stop(signal.SIGKILL)
        build_id = ann.submit(steps("true"))
        wait_until("it says why it waits", lambda: ann.show(build_id)["reason"] == "no_token")
        own.issuer.start()
        build = ann.wait_for(build_id)
        assert (build["status"], build["reason"]) == ("succeeded", None)


def test_a_result_is_kept_until_the_api_is_back(own: Stack) -> None:
    own.worker()
    with User(own) as ann:
        build_id = ann.submit(steps("echo begun; sleep 1; echo over"))
        ann.wait_for_log(build_id, "begun")
        own.api.stop(signal.SIGKILL)
        time.sleep(3)  # the build ends while nobody listens
        own.start_api()
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)
        assert ann.log(build_id).endswith("over\n")


def test_readiness_names_what_is_missing(own: Stack) -> None:
    own.redis.stop(signal.SIGKILL)

    def unready() -> bool:
        answer = httpx.get(f"{own.api_url}/readyz", timeout=30)
        missing = {"store": "unavailable", "broker": "unavailable", "issuer": "ok"}
        return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and (
            answer.json()["checks"] == missing
        )

    wait_until("it is not ready, for want of its Redis alone", unready)
    assert httpx.get(f"{own.api_url}/healthz", timeout=5).status_code == httpx.codes.OK
