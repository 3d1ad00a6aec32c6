"""What goes wrong while somebody watches: nothing that they have to mend."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browser.builds import build, ended, ran, submit
from tests.browser.dashboard import PATIENCE, Dashboard
from tests.support.stack import Stack

pytestmark = pytest.mark.slow

_TALK = "for i in $(seq {}); do echo tick $i; sleep 0.1; done"


def lines(dashboard: Dashboard, count: int) -> None:
    """Every line is there, once, in its place."""
    dashboard.see(dashboard.log_facts, f"{count + 1} lines")
    for number in (2, count // 2, count + 1):
        dashboard.log.press("Home")
        if number > 40:
            dashboard.log.press("End")
        if dashboard.line(number).count():
            expect(dashboard.line(number).locator(".content")).to_have_text(f"tick {number - 1}")


def test_a_reload_in_the_middle_shows_everything_printed_so_far_and_goes_on(
    ann: Dashboard, stack: Stack
) -> None:
    build_id = submit(stack, ("talk", _TALK.format(90)))
    ann.go(f"/builds/{build_id}")
    ann.see(ann.log.get_by_text("tick 20", exact=True))
    ann.page.reload()
    ann.page.get_by_role("button", name="Sign in").click()
    ann.be(ann.page, "ann")
    ann.see(ann.badge, "Running")
    ended(stack, build_id)
    ann.see(ann.badge, "Succeeded")
    lines(ann, 90)


def test_an_api_restart_in_the_middle_of_a_stream_loses_nothing(
    ann: Dashboard, stack: Stack
) -> None:
    build_id = submit(stack, ("talk", _TALK.format(110)))
    ann.go(f"/builds/{build_id}")
    ann.see(ann.log.get_by_text("tick 20", exact=True))
    stack.api.stop()
    try:
        ann.see(ann.page.locator(".log-trouble"), "trying again")
    finally:
        stack.start_api()
    ended(stack, build_id)
    ann.see(ann.badge, "Succeeded")
    expect(ann.page.locator(".log-trouble")).to_be_hidden()
    lines(ann, 110)


def test_a_stream_of_events_goes_on_where_it_ended_and_ends_with_its_build(
    ann: Dashboard, stack: Stack
) -> None:
    build_id = ran(stack, ("one", "true"))
    final = build(stack, build_id)
    running = {**final, "status": "running", "finished_at": None}
    asked: list[str] = []

    def event(name: str, data: object, number: int) -> str:
        return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"

    def answer(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id", ""))
        first = len(asked) == 1
        events = [
            event("build", running if first else final, len(asked)),
            ": heartbeat\n\n",
            event("expired" if first else "end", {}, 10 * len(asked)),
        ]
        route.fulfill(body="".join(events), content_type="text/event-stream")

    ann.context.route("**/events?log=0", answer)
    ann.context.route(
        f"**/builds/{build_id}",
        lambda route: route.fulfill(json=running if len(asked) < 2 else final),
    )
    ann.go(f"/builds/{build_id}")
    ann.see(ann.badge, "Succeeded")
    assert asked == ["", "10"]


def test_a_log_whose_stream_has_died_without_a_word_is_asked_for_anew(
    ann: Dashboard, stack: Stack
) -> None:
    build_id = ran(stack, ("one", "echo here it is"))
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:  # the first one is never answered
            route.continue_()

    ann.context.route("**/log?follow=1", answer)
    ann.go(f"/builds/{build_id}")
    ann.see(ann.badge, "Succeeded")
    ann.see(ann.line(2), "here it is")
    assert len(asked) == 2


def test_a_token_that_ends_in_the_middle_of_a_stream_is_renewed_without_losing_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    settings = {"BATON_ISSUER_USER_LIFETIME": "10", "BATON_LEEWAY": "0"}
    with Stack(tmp_path, **settings) as stack, Dashboard(browser, stack) as ann:
        stack.worker()
        ann.sign_in("/new")
        page = ann.page
        page.get_by_label("Script").fill(_TALK.format(180))
        page.get_by_role("button", name="Start the build").click()
        ann.see(ann.log.get_by_text("tick 20", exact=True))
        page.evaluate("window.mark = 'the same page'")
        ask = page.get_by_role("dialog", name="Your session has ended")
        ann.see(ask)
        with page.expect_popup() as opening:
            ask.get_by_role("button", name="Sign in again").click()
        beside = opening.value
        expect(beside.get_by_label("User name")).to_have_value("ann", timeout=PATIENCE)
        beside.get_by_role("button", name="Continue").click()
        expect(ask).to_be_hidden(timeout=PATIENCE)
        assert page.evaluate("window.mark") == "the same page"
        expect(ann.log.get_by_text(re.compile(r"^tick 1[3-7]\d$")).first).to_be_visible(
            timeout=PATIENCE
        )


def test_a_tab_in_the_background_holds_no_connection_and_catches_up(
    ann: Dashboard, stack: Stack
) -> None:
    """Browsers allow six connections to a server over HTTP/1.1, for all tabs together."""
    open_streams: set[str] = set()

    def is_stream(url: str) -> bool:
        return "/events" in url or "follow=1" in url

    def begun(request: Request) -> None:
        if is_stream(request.url):
            open_streams.add(request.url)

    ann.page.on("request", begun)
    for event in ("requestfinished", "requestfailed"):
        ann.page.on(event, lambda request: open_streams.discard(request.url))
    build_id = submit(stack, ("talk", _TALK.format(150)))
    ann.go(f"/builds/{build_id}")
    ann.see(ann.log.get_by_text("tick 5", exact=True))
    assert len(open_streams) == 2

    _look_away(ann.page, hidden=True)
    while open_streams:
        ann.page.wait_for_event("requestfailed", timeout=PATIENCE)
    ended(stack, build_id)
    expect(ann.page).to_have_title(re.compile("Succeeded"), timeout=PATIENCE)
    assert not open_streams
    _look_away(ann.page, hidden=False)
    lines(ann, 150)


def _look_away(page: Page, *, hidden: bool) -> None:
    """What a browser says to a page when its tab is left, or looked at again."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
