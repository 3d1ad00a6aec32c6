"""The list, a new build, and what can be done with one."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.builds import build, ended, ran, submit
from tests.browser.dashboard import PATIENCE, Dashboard
from tests.support.stack import Stack

pytestmark = pytest.mark.slow


def test_builds_are_found_by_status_and_by_label(ann: Dashboard, stack: Stack) -> None:
    good = ran(stack, ("fine", "true"), labels={"pr": "17", "team": "web"})
    bad = ran(stack, ("broken", "false"), labels={"pr": "18"})
    rows = ann.page.locator(".build-row")
    ann.see(ann.page.locator(f'[href="#/builds/{good}"]'), "Succeeded")
    ann.see(ann.page.locator(f'[href="#/builds/{bad}"]'), "Failed")

    ann.page.get_by_role("link", name="Failed", exact=True).click()
    ann.see(ann.page.locator(f'[href="#/builds/{bad}"]'))
    expect(ann.page.locator(f'[href="#/builds/{good}"]')).to_have_count(0)

    ann.page.get_by_role("link", name="All", exact=True).click()
    ann.see(ann.page.locator(f'[href="#/builds/{good}"]'))
    label = ann.page.get_by_role("searchbox", name="Filter by label")
    label.fill("team")
    label.press("Enter")
    expect(rows).to_have_count(1, timeout=PATIENCE)
    label.fill("pr: 18")
    label.press("Enter")
    ann.see(ann.page.get_by_text("No build is like that."))
    ann.page.get_by_role("link", name="Label team: take away").click()
    expect(rows).to_have_count(1, timeout=PATIENCE)
    ann.see(rows, "broken")
    expect(ann.page).to_have_url(re.compile(r"#/\?label=pr%3A18$"))

    ann.go(f"/builds/{good}")
    ann.page.locator(".meta").get_by_role("link", name="pr: 17").click()
    expect(rows).to_have_count(1, timeout=PATIENCE)
    ann.see(rows, "fine")


def test_the_list_lives(ann: Dashboard, stack: Stack) -> None:
    ann.see(ann.page.get_by_role("heading", name="Builds"))
    build_id = submit(stack, ("slow", "echo a; sleep 3; echo b"))
    row = ann.page.locator(f'[href="#/builds/{build_id}"]')
    ann.see(row, "Running")
    ann.see(row, "Succeeded")


def test_a_build_that_does_not_fit_any_more_leaves_the_list(ann: Dashboard, stack: Stack) -> None:
    ann.go("/?status=running")
    build_id = submit(stack, ("slow", "echo a; sleep 3; echo b"))
    row = ann.page.locator(f'[href="#/builds/{build_id}"]')
    ann.see(row, "Running")
    expect(row).to_have_count(0, timeout=PATIENCE)


def test_older_builds_come_page_by_page(ann: Dashboard, stack: Stack) -> None:
    ids = [submit(stack, ("one of many", "true"), user="many") for _ in range(35)]
    with Dashboard(ann.browser, stack) as dashboard:
        dashboard.sign_in(user="many")
        rows = dashboard.page.locator(".build-row")
        expect(rows).to_have_count(30, timeout=PATIENCE)
        dashboard.page.get_by_role("button", name="Show older builds").click()
        expect(rows).to_have_count(35, timeout=PATIENCE)
        links = rows.evaluate_all("(all) => all.map((each) => each.hash.slice(-30))")
        assert links == ids[::-1]


def test_a_build_is_submitted_with_the_form_and_watched_to_its_end(
    ann: Dashboard, stack: Stack
) -> None:
    page = ann.page
    page.get_by_role("link", name="New build").first.click()
    page.get_by_label("Name", exact=True).fill("greet")
    script = "echo first\nsleep 2\nprintf '10%%\\r100%%\\n'\necho last\n"
    page.get_by_label("Script").fill(script)
    page.get_by_text("Labels, environment, time limit").click()
    page.get_by_label("Labels", exact=True).fill("pr: 21")
    page.get_by_role("button", name="Start the build").click()

    ann.see(ann.badge, "Running")
    ann.see(ann.line(2), "first")
    expect(page).to_have_title(re.compile("● Running · greet"))
    ann.see(ann.badge, "Succeeded")
    expect(page).to_have_title(re.compile("✓ Succeeded · greet"))
    expect(ann.line(3).locator(".content")).to_have_text("100%")
    ann.see(ann.line(4), "last")
    icon = page.locator("#favicon").get_attribute("href") or ""
    assert icon.startswith("data:image/svg+xml,")
    found = build(stack, page.url.rpartition("/")[2])
    assert found["spec"]["labels"] == {"pr": "21"}


def test_what_the_api_refuses_is_said_beside_its_field(ann: Dashboard) -> None:
    page = ann.go("/new").page
    page.get_by_label("Git repository").fill("not a url")
    page.get_by_label("Name", exact=True).fill("")
    page.get_by_label("Time limit (s)").fill("soon")
    page.get_by_role("button", name="Start the build").click()
    git = page.get_by_label("Git repository")
    expect(git).to_have_attribute("aria-invalid", "true", timeout=PATIENCE)
    ann.see(page.locator(f"#{git.get_attribute('id')}-wrong"), "Must be a URL")
    for label in ("Name", "Time limit (s)"):
        field = page.get_by_label(label, exact=True)
        expect(field).to_have_attribute("aria-invalid", "true")
    expect(git).to_be_focused()


def test_the_json_names_the_line_of_what_is_wrong(ann: Dashboard) -> None:
    page = ann.go("/new").page
    page.get_by_role("button", name="JSON").click()
    editor = page.get_by_label("Spec, as JSON")
    editor.fill('{\n  "steps": [\n    {"name": "a", "run": 7}\n  ],\n  "stepps": []\n}')
    page.get_by_role("button", name="Start the build").click()
    problems = page.locator(".wrong-list li")
    expect(problems).to_have_count(2, timeout=PATIENCE)
    ann.see(problems.filter(has_text="/steps/0/run"), "Line 3")
    ann.see(problems.filter(has_text="/stepps"), "Line 5")
    editor.fill('{"steps": ]')
    ann.see(problems, "Not JSON yet")


def test_a_running_build_is_cancelled(ann: Dashboard, stack: Stack) -> None:
    build_id = submit(stack, ("long", "echo begun; sleep 300"))
    ann.go(f"/builds/{build_id}")
    ann.see(ann.line(2), "begun")
    ann.page.get_by_role("button", name="Cancel").click()
    ann.page.get_by_role("button", name="Cancel the build").click()
    ann.see(ann.badge, "Cancelled")
    assert ended(stack, build_id)["status"] == "cancelled"


def test_a_build_that_ended_is_built_again(ann: Dashboard, stack: Stack) -> None:
    before = ran(stack, ("fails", "echo no; false"))
    ann.go(f"/builds/{before}")
    ann.see(ann.badge, "Failed")
    ann.see(ann.page.locator(".verdict"), "fails")
    ann.page.get_by_role("button", name="Retry").click()
    expect(ann.page).not_to_have_url(re.compile(before), timeout=PATIENCE)
    ann.see(ann.page.get_by_label("About this build"), "Retry of")
    ann.see(ann.badge, "Failed")
    ann.page.get_by_role("link", name="Edit and run").click()
    expect(ann.page.get_by_label("Name", exact=True)).to_have_value("fails", timeout=PATIENCE)


def test_a_commit_leads_to_its_page_where_its_host_has_one(ann: Dashboard, stack: Stack) -> None:
    sha = "0123456789abcdef0123456789abcdef01234567"
    source = {"git": "https://github.com/acme/site.git", "sha": sha}
    build_id = submit(stack, ("one", "true"), source=source)
    about = ann.go(f"/builds/{build_id}").page.get_by_label("About this build")
    link = about.get_by_role("link", name="at github.com")
    expect(link).to_have_attribute("href", f"https://github.com/acme/site/commit/{sha}")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    with stack.http() as http:
        http.post(f"/builds/{build_id}/cancel")
    ended(stack, build_id)


def test_a_page_says_what_its_worker_may_do(ann: Dashboard, stack: Stack) -> None:
    ann.go(f"/builds/{ran(stack, ('one', 'true'))}")
    token = ann.page.get_by_label("Build token", exact=True)
    ann.see(token, "update:builds")
    ann.see(token, "auth0|ann")
    ann.see(token, "Until")
