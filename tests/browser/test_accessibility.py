"""Every page in both themes and on a phone: axe finds nothing, and the keyboard is enough."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.builds import STORY, ended, ran, submit
from tests.browser.dashboard import DESK, PATIENCE, PHONE, Dashboard
from tests.stack import Stack


@pytest.fixture(scope="module")
def builds(stack: Stack) -> Iterator[dict[str, str]]:
    labels = {"pr": "17", "team": "payments"}
    found = {
        "failed": ran(stack, *STORY, labels=labels),
        "succeeded": ran(stack, ("lint", "echo fine"), ("unit", "sleep 0.4; echo fine")),
        "running": submit(
            stack, ("compile", "for i in $(seq 30); do echo $i; done; sleep 1100"), ("test", "true")
        ),
    }
    yield found
    with stack.http() as http:
        http.post(f"/builds/{found['running']}/cancel")
    ended(stack, found["running"])


@pytest.fixture(scope="module", params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(params=["desk", "phone"])
def ann(
    browser: Browser, stack: Stack, theme: str, request: pytest.FixtureRequest
) -> Iterator[Dashboard]:
    size = PHONE if request.param == "phone" else DESK
    options = {"color_scheme": theme, "viewport": size, "has_touch": size is PHONE}
    with Dashboard(browser, stack, options) as dashboard:
        yield dashboard.sign_in()


def clean(dashboard: Dashboard) -> None:
    found = Axe().run(dashboard.page, options={"resultTypes": ["violations", "passes"]})
    assert not found.response["violations"], found.generate_report()
    assert len(found.response["passes"]) > 10, "axe saw nothing"


def no_sideways_scrolling(dashboard: Dashboard) -> None:
    wide = dashboard.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0


def test_every_page_is_accessible(
    ann: Dashboard, builds: dict[str, str], theme: str, tmp_path: Path
) -> None:
    page = ann.page
    pictures = Path(os.environ.get("BATON_PICTURES", str(tmp_path))) / "pages"
    pictures.mkdir(parents=True, exist_ok=True)
    size = "phone" if page.viewport_size == PHONE else "desk"

    def look(name: str) -> None:
        clean(ann)
        no_sideways_scrolling(ann)
        page.screenshot(path=pictures / f"{name}-{size}-{theme}.png")

    ann.see(page.locator(".build-row").first)
    look("builds")
    for status, build_id in builds.items():
        ann.go(f"/builds/{build_id}")
        ann.see(ann.badge, status.capitalize())
        ann.see(ann.log_facts, "lines")
        look(status)
    ann.go("/new")
    ann.see(page.get_by_role("heading", name="New build"))
    look("new")
    page.get_by_label("Git repository").fill("not a url")
    page.get_by_role("button", name="Start the build").click()
    ann.see(page.locator(".wrong").first)
    look("new-refused")
    page.get_by_role("button", name="JSON").click()
    ann.see(page.get_by_label("Spec, as JSON"))
    look("json")
    page.locator("h1").click()
    page.keyboard.press("?")
    ann.see(page.get_by_role("dialog", name="Keyboard shortcuts"))
    look("keys")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    ann.see(page.get_by_role("button", name="Sign in"))
    look("sign-in")


def test_the_keyboard_is_enough(ann: Dashboard, builds: dict[str, str]) -> None:
    page = ann.page
    ann.see(page.locator(".build-row").first)
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".build-row").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    ann.see(ann.badge)
    expect(page.locator("h1")).to_be_focused()
    page.keyboard.press("l")
    expect(ann.log).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("b")
    ann.see(page.get_by_role("heading", name="Builds"))
    ann.go(f"/builds/{builds['failed']}")
    ann.see(ann.log_facts, "lines")
    page.keyboard.press("e")
    ann.see(page.locator(".row.chosen"), "FAIL")
    page.keyboard.press("r")
    expect(page).not_to_have_url(f"#/builds/{builds['failed']}", timeout=PATIENCE)


@pytest.mark.parametrize("ann", ["desk"], indirect=True)
def test_single_keys_can_be_turned_off(ann: Dashboard) -> None:
    """WCAG 2.2, 2.1.4: a spoken word is many keys."""
    page = ann.page
    page.keyboard.press("?")
    page.get_by_label("Single keys do this").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Builds")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Keyboard shortcuts").first.click()
    page.get_by_label("Single keys do this").check()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    ann.see(page.get_by_role("heading", name="New build"))


@pytest.mark.parametrize("ann", ["desk"], indirect=True)
def test_a_system_with_colours_and_a_pace_of_its_own_is_heeded(
    ann: Dashboard, builds: dict[str, str]
) -> None:
    page = ann.page
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    ann.go(f"/builds/{builds['running']}")
    ann.see(ann.badge, "Running")
    clean(ann)
    moving = page.evaluate(
        "document.getAnimations().filter((a) => a.playState === 'running').length"
    )
    assert moving == 0
    chosen = page.get_by_role("button", name="Follow").evaluate(
        "(e) => getComputedStyle(e).forcedColorAdjust"
    )
    assert chosen == "none"  # else nothing would tell that it is pressed


@pytest.mark.parametrize("ann", ["desk"], indirect=True)
def test_paper_shows_the_build_and_no_tools(ann: Dashboard, builds: dict[str, str]) -> None:
    ann.go(f"/builds/{builds['failed']}")
    ann.see(ann.log.get_by_text("1 failed, 37 passed"))
    ann.page.emulate_media(media="print")
    expect(ann.badge).to_be_visible()
    expect(ann.log.get_by_text("1 failed, 37 passed")).to_be_visible()
    for name in ("Retry", "Raw", "Sign out"):
        expect(ann.page.get_by_role("button", name=name)).to_have_count(0)


def test_nothing_jumps_while_a_build_opens(ann: Dashboard, builds: dict[str, str]) -> None:
    ann.go(f"/builds/{builds['failed']}")
    ann.see(ann.log_facts, "lines")
    ann.see(ann.log.locator(".row").first)
    assert ann.watched()["shift"] < 0.1
