"""Every page in both themes and on a phone: axe finds nothing, and the keyboard is enough."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.builds import STORY, ended, ran, submit
from tests.browser.dashboard import DESK, PATIENCE, PHONE, Dashboard
from tests.browser.sights import clean, good_in_every_way, themes
from tests.support.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def builds(stack: Stack) -> Iterator[dict[str, str]]:
    labels = {"issue": "17", "area": "payments"}
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


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the pages go."""
    folder = Path(os.environ.get("BATON_PICTURES", str(tmp_path))) / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(params=["desk", "phone"])
def arriving(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Dashboard]:
    """Ann, who has just signed in, on a desk and on a phone."""
    phone = request.param == "phone"
    options = {"viewport": PHONE if phone else DESK, "has_touch": phone}
    with Dashboard(browser, stack, options) as dashboard:
        yield dashboard.sign_in()


def test_the_list_is_accessible(ann: Dashboard, builds: dict[str, str], pictures: Path) -> None:
    assert builds
    ann.see(ann.page.locator(".build-row").nth(2))
    good_in_every_way(ann.page, "builds", pictures)


@pytest.mark.parametrize("status", ["failed", "succeeded", "running"])
def test_a_build_is_accessible(
    status: str, ann: Dashboard, builds: dict[str, str], pictures: Path
) -> None:
    ann.go(f"/builds/{builds[status]}")
    ann.see(ann.badge, status.capitalize())
    ann.see(ann.log_facts, "lines")
    good_in_every_way(ann.page, status, pictures)


def test_a_new_build_is_accessible(ann: Dashboard, pictures: Path) -> None:
    page = ann.go("/new").page
    ann.see(page.get_by_role("heading", name="New build"))
    good_in_every_way(page, "new", pictures)
    page.get_by_label("Git repository").fill("not a url")
    page.get_by_role("button", name="Start the build").click()
    ann.see(page.locator(".wrong").first)
    good_in_every_way(page, "new-refused", pictures)
    page.get_by_role("button", name="JSON").click()
    ann.see(page.get_by_label("Spec, as JSON"))
    good_in_every_way(page, "json", pictures)
    page.locator("h1").click()
    page.keyboard.press("?")
    ann.see(page.get_by_role("dialog", name="Keyboard shortcuts"))
    good_in_every_way(page, "keys", pictures)
    page.keyboard.press("Escape")


def test_the_way_in_is_accessible(ann: Dashboard, pictures: Path) -> None:
    ann.page.get_by_role("button", name="Sign out").click()
    ann.see(ann.page.get_by_role("button", name="Sign in"))
    good_in_every_way(ann.page, "sign-in", pictures)


def test_the_keyboard_is_enough(arriving: Dashboard, builds: dict[str, str]) -> None:
    ann = arriving
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


def test_a_system_with_colours_and_a_pace_of_its_own_is_heeded(
    ann: Dashboard, builds: dict[str, str]
) -> None:
    page = ann.page
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    ann.go(f"/builds/{builds['running']}")
    ann.see(ann.badge, "Running")
    for _ in themes(page):
        clean(page)
    moving = page.evaluate(
        "document.getAnimations().filter((a) => a.playState === 'running').length"
    )
    assert moving == 0
    chosen = page.get_by_role("button", name="Follow").evaluate(
        "(e) => getComputedStyle(e).forcedColorAdjust"
    )
    assert chosen == "none"  # else nothing would tell that it is pressed


def test_paper_shows_the_build_and_no_tools(ann: Dashboard, builds: dict[str, str]) -> None:
    ann.go(f"/builds/{builds['failed']}")
    ann.see(ann.log.get_by_text("1 failed, 37 passed"))
    ann.page.emulate_media(media="print")
    for _ in themes(ann.page):
        expect(ann.badge).to_be_visible()
        expect(ann.log.get_by_text("1 failed, 37 passed")).to_be_visible()
        for name in ("Retry", "Raw", "Sign out"):
            expect(ann.page.get_by_role("button", name=name)).to_have_count(0)


def test_nothing_jumps_while_a_build_opens(arriving: Dashboard, builds: dict[str, str]) -> None:
    ann = arriving
    ann.go(f"/builds/{builds['failed']}")
    ann.see(ann.log_facts, "lines")
    ann.see(ann.log.locator(".row").first)
    assert ann.watched()["shift"] < 0.1
