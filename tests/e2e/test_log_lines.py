"""What the processes say of builds: with their ids, one line for each event, and no secret."""

import json
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.observability.log_format import Style
from tests.e2e.test_secrets import Broker, Secrets
from tests.e2e.user import User, steps
from tests.support.stack import Part, Stack
from tests.support.waiting import wait_until

#: Of these, every line is about a build (when nothing else fails).
ABOUT_BUILDS = {
    "worker.runner", "worker.tasks", "worker.heartbeat", "worker.log_shipper", "worker.api_client",
    "celery.worker.strategy", "celery.worker.request", "celery.app.trace", "app.builds.dispatch",
}  # fmt: skip

TEXT = re.compile(r"(?P<time>\S+) (?P<level>[A-Z]+) +(?P<logger>[\w.]+): (?P<message>.*)")
FIELD = re.compile(r" (\w+)=([^\s\"]+)")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = re.compile(r"\bbld_[0-9A-Z]{26}")

REFUSED = "a-secret-that-the-provider-does-not-know"


@dataclass
class Scene:
    stack: Stack
    style: Style

    def events(self, part: Part) -> Iterator[dict[str, Any]]:
        """What a part has said; a line that is none of its log's fails the test."""
        for line in part.output().splitlines():
            assert line.isprintable()
            if self.style == "json":
                event = json.loads(line)
            else:
                found = TEXT.fullmatch(line)
                assert found, line
                event = dict(FIELD.findall(line)) | found.groupdict()
            assert TIME.fullmatch(event["time"]), line
            yield event | {"line": line}


@pytest.fixture(params=["json", "text"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    settings = {"BATON_LOG_FORMAT": request.param, "BATON_LOG_LEVEL": "debug"}
    with Stack(tmp_path, **settings) as stack:
        # From here on with its requests.
        stack.api.stop()
        stack.api.argv.append("--access-log")
        stack.start_api()
        yield Scene(stack, request.param)


def test_every_line_about_a_build_has_its_id_and_none_has_a_secret(scene: Scene) -> None:
    stack = scene.stack
    wanted = Secrets({"the client's": "the-secret-of-the-tests", "the wrong one": REFUSED})
    wanted.words |= {"the key": stack.api.env["BATON_MESSAGE_KEYS"]}
    wanted.add_token("ann", stack.token())
    broker = Broker(stack)
    # Where no other worker leaves anything that this one would say that it deletes.
    with User(stack) as ann, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        fails = ann.submit(steps("echo here; exit 3"))
        cancelled = ann.submit(steps("echo here; sleep 1000"))
        killed = ann.submit(steps("echo here; sleep 1000"))
        for build_id in (fails, cancelled, killed):
            wanted.add_token(build_id, broker.token(build_id))
        broker.close()
        worker = stack.worker(
            concurrency=3,
            BATON_LOG_FORMAT=scene.style,
            BATON_LOG_LEVEL="debug",
            BATON_SHUTDOWN_GRACE="1",
            BATON_WORKSPACES=f"{folder}/workspaces",
        )
        assert ann.wait_for(fails)["status"] == "failed"
        ann.wait_for_log(cancelled, "here")
        ann.cancel(cancelled)
        ann.wait_for(cancelled)
        ann.wait_for_log(killed, "here")
        os.kill(int(ann.show(killed)["worker"].rpartition(":")[2]), signal.SIGKILL)
        wait_until("the worker says so", lambda: "WorkerLostError" in worker.output())
        ann.cancel(killed)
        ann.wait_for(killed)
        stack.api.stop()
        stack.api.env["BATON_MINT_CLIENT_SECRET"] = REFUSED
        stack.start_api()
        refused = ann.submit(steps("true"))
        wait_until("it is refused", lambda: ann.show(refused)["reason"] == "token_refused")
    for part in (worker, stack.api, stack.issuer):
        part.stop()

    said = {build_id: set[str]() for build_id in (fails, cancelled, killed, refused)}
    for part in (stack.api, worker, stack.issuer):
        for event in scene.events(part):
            named = set(ID.findall(event["line"]))
            submits = '"POST /builds HTTP' in event["message"]
            if named or submits or event["logger"] in ABOUT_BUILDS:
                assert event.get("build_id") in said, event["line"]
                said[event["build_id"]].add(event["logger"])
            assert named <= {event.get("build_id")}, event["line"]
        assert wanted.found_in(part.output()) == [], part.name
        assert "[token]" not in part.output() and "[secret]" not in part.output(), part.name

    both = {"app.builds.dispatch", "uvicorn.access"}
    assert said[refused] >= both
    of_worker = {"celery.worker.strategy", "worker.runner", "celery.app.trace"}
    assert said[fails] >= both | of_worker
    assert said[cancelled] >= both | of_worker
    assert said[killed] >= both | {"celery.worker.request"}  # in the worker's main process
