"""`/docs`: the page that describes the API, in both themes, on a desk and on a phone."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.dashboard import Dashboard
from tests.browser.sights import clean, fits, sights
from tests.support.stack import Stack

pytestmark = pytest.mark.slow


def test_it_is_readable_by_everyone_and_everywhere(dashboard: Dashboard, stack: Stack) -> None:
    page = dashboard.page
    page.goto(f"{stack.api_url}/docs")
    expect(page.get_by_role("heading", name="Baton API", exact=True)).to_be_visible()
    for _ in sights(page):
        clean(page)
        fits(page)


def test_every_call_and_every_schema_of_the_document_is_there(
    dashboard: Dashboard, stack: Stack
) -> None:
    document = httpx.get(f"{stack.api_url}/openapi.json").json()
    page = dashboard.page
    page.goto(f"{stack.api_url}/docs")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            article = page.locator(f"article#{operation['operationId']}")
            expect(article.locator("h3")).to_have_text(operation["summary"])
            expect(article.locator(".call")).to_have_text(f"{method.upper()} {path}")
            for each in operation.get("parameters", ()):
                expect(article.locator("dt", has_text=each["name"]).first).to_be_visible()
    for name in document["components"]["schemas"]:
        expect(page.locator(f"article#schema-{name} h3")).to_have_text(name)


def test_it_says_which_token_a_call_takes(dashboard: Dashboard, stack: Stack) -> None:
    page = dashboard.page
    page.goto(f"{stack.api_url}/docs")
    said = {
        "post_builds": "A user's token with the scope create:builds",
        "put_builds_build_id": "The build's own token",
        "get_healthz": "No token",
    }
    for name, words in said.items():
        expect(page.locator(f"article#{name} .token")).to_have_text(words)


def test_its_first_example_submits_a_build(dashboard: Dashboard, stack: Stack) -> None:
    page = dashboard.page
    page.goto(f"{stack.api_url}/docs")
    command = page.locator("article#post_builds pre").inner_text()
    assert command.startswith(f"curl -X POST {stack.api_url}/builds ")
    found = re.search(r"-d '(.*)'", command)
    assert found
    with stack.http() as http:
        answer = http.post(
            "/builds", content=found[1], headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 202, answer.text
        http.post(f"/builds/{answer.json()['id']}/cancel")


def test_every_link_in_it_leads_somewhere(dashboard: Dashboard, stack: Stack) -> None:
    page = dashboard.page
    page.goto(f"{stack.api_url}/docs")
    broken = page.evaluate(
        """() => [...document.querySelectorAll('a[href^="#"]')]
            .map((a) => a.getAttribute('href').slice(1))
            .filter((id) => !document.getElementById(id))"""
    )
    assert broken == []
    page.get_by_role("link", name="Dashboard").click()
    expect(page).to_have_url(re.compile(re.escape(stack.api_url) + "/(#.*)?$"))


def test_no_program_may_run_on_it(stack: Stack) -> None:
    answer = httpx.get(f"{stack.api_url}/docs")
    policy = answer.headers["content-security-policy"]
    assert "script-src" not in policy and "default-src 'none'" in policy
    assert "<script" not in answer.text and "style=" not in answer.text
    again = httpx.get(f"{stack.api_url}/docs", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert httpx.get(f"{stack.api_url}/docs/nothing.css").status_code == 404
