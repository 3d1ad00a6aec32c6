"""The pictures in the documents, of real builds; `BATON_PICTURES=docs/images` writes them there."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.builds import STORY, ended, ran, submit
from tests.browser.dashboard import Dashboard
from tests.support.repository import Repository
from tests.support.servers.git_server import GitServer
from tests.support.stack import Stack

pytestmark = pytest.mark.slow

_COMPILE = r"""
for i in $(seq 400); do
  printf '\033[36m[%3d/400]\033[0m compiling \033[2msrc/\033[0mmodule_%03d.c\n' $i $i
  sleep 0.01
done
sleep 60
"""


def test_the_dashboard_is_worth_a_look(browser: Browser, tmp_path: Path) -> None:
    folder = Path(os.environ.get("BATON_PICTURES", str(tmp_path)))
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "stack").mkdir()
    repositories = tmp_path / "repositories"
    for name in ("acme/site", "acme/payments", "acme/engine"):
        Repository(repositories / name).commit(Makefile="test:\n\ttrue\n")
    options = {"device_scale_factor": 2, "viewport": {"width": 1320, "height": 800}}
    with (
        GitServer(repositories) as git,
        Stack(tmp_path / "stack") as stack,
        Dashboard(browser, stack, options) as ann,
    ):
        stack.worker(concurrency=3)
        site = {"git": git.url("acme/site"), "ref": "main"}
        payments = {"git": git.url("acme/payments"), "ref": "main"}
        ran(stack, ("lint", "true"), ("unit", "sleep 0.7"), source=site, labels={"pr": "16"})
        ran(stack, ("nightly report", "sleep 1.2"), labels={"team": "data"})
        ran(stack, ("gone", "true"), source={**payments, "ref": "no-such-branch"})
        failed = ran(stack, *STORY, source=payments, labels={"pr": "17", "team": "payments"})
        ran(stack, ("deploy", "sleep 30"), source=site, timeout=1, labels={"env": "staging"})
        running = submit(
            stack, ("configure", "sleep 0.8"), ("compile", _COMPILE), ("test", "true"),
            source={"git": git.url("acme/engine"), "ref": "main"}, labels={"arch": "arm64"},
        )  # fmt: skip
        busy = [
            submit(stack, ("sleep", "sleep 60"), source=site, labels={"pr": "19"}) for _ in range(2)
        ]
        submit(stack, ("lint", "true"), ("unit", "true"), source=site, labels={"pr": "20"})

        ann.sign_in()
        ann.see(ann.page.locator(".build-row").nth(8))
        ann.page.screenshot(path=folder / "builds.png")
        ann.go(f"/builds/{running}")
        ann.see(ann.log.get_by_text("module_400.c"))
        ann.page.screenshot(path=folder / "running.png")
        ann.page.emulate_media(color_scheme="dark")
        ann.page.set_viewport_size({"width": 1320, "height": 1080})
        ann.go(f"/builds/{failed}")
        ann.see(ann.log_facts, "lines")
        ann.page.keyboard.press("e")
        ann.see(ann.page.locator(".row.chosen"))
        ann.page.screenshot(path=folder / "build.png")
        with stack.http() as http:  # a worker that has nothing to do stops at once
            for build_id in (running, *busy):
                http.post(f"/builds/{build_id}/cancel")
        for build_id in (running, *busy):
            ended(stack, build_id)
