"""Signing in and out, and what stays behind: nothing."""

from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from playwright.sync_api import expect

from tests.browser.builds import ran
from tests.browser.dashboard import PATIENCE, Dashboard
from tests.stack import Stack

_STORED = "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"


def test_a_user_signs_in_with_a_code_and_keeps_the_token_in_memory_only(
    dashboard: Dashboard,
) -> None:
    dashboard.sign_in()
    expect(dashboard.page.locator(".who")).to_have_text("ann")
    expect(dashboard.page).to_have_url(f"{dashboard.stack.api_url}/#/")
    assert dashboard.page.evaluate(_STORED) == '[{},{},""]'


def test_the_first_visit_shows_how_to_submit_a_build(dashboard: Dashboard) -> None:
    dashboard.sign_in(user="newcomer")
    dashboard.see(dashboard.page.get_by_role("heading", name="Nothing has been built yet"))
    dashboard.see(dashboard.page.locator(".first pre"), "baton submit --run")
    dashboard.page.get_by_role("link", name="Submit your first build").click()
    dashboard.see(dashboard.page.get_by_role("heading", name="New build"))


def test_a_deep_link_survives_the_sign_in(dashboard: Dashboard, stack: Stack) -> None:
    build_id = ran(stack, ("hello", "echo hello"))
    dashboard.sign_in(f"/builds/{build_id}/L2")
    dashboard.see(dashboard.line(2), "hello")
    expect(dashboard.page).to_have_url(f"{stack.api_url}/#/builds/{build_id}/L2")


def test_signing_out_forgets_everything(ann: Dashboard) -> None:
    ann.page.get_by_role("button", name="Sign out").click()
    ann.see(ann.page.get_by_text("You are signed out."))
    assert ann.page.evaluate(_STORED) == '[{},{},""]'
    ann.page.reload()
    expect(ann.page.get_by_role("button", name="Sign in")).to_be_visible(timeout=PATIENCE)


def test_an_answer_from_another_issuer_is_refused(dashboard: Dashboard) -> None:
    """RFC 9207: the code is not sent anywhere."""
    page = dashboard.open().page
    page.get_by_role("button", name="Sign in").click()
    dashboard.see(page.get_by_label("User name"))
    [state] = parse_qs(urlsplit(page.url).query)["state"]
    redeemed: list[str] = []
    page.on("request", lambda request: redeemed.append(request.url))
    answer = {"code": "a-code", "state": state, "iss": "https://evil.example/"}
    page.goto(f"{dashboard.stack.api_url}/?{urlencode(answer)}")
    dashboard.see(page.get_by_role("alert"), "not from the identity provider")
    assert not [url for url in redeemed if url.endswith("/oauth/token")]


def test_somebody_elses_build_is_not_there(ann: Dashboard, stack: Stack) -> None:
    theirs = ran(stack, ("secret", "echo secret"), user="bob")
    ann.go(f"/builds/{theirs}")
    ann.see(ann.page.get_by_role("heading", name="No such build"))


def test_its_files_may_be_kept_and_its_page_may_not(stack: Stack) -> None:
    with httpx.Client(base_url=stack.api_url) as http:
        page = http.get("/")
        policy = page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-cache"
        assert "unsafe" not in policy and stack.issuer_url.rstrip("/") in policy
        module = next(word for word in page.text.split('"') if word.endswith("js/main.js"))
        script = http.get(f"/{module}")
        assert "immutable" in script.headers["cache-control"]
        assert script.headers["content-encoding"] == "gzip"
        again = http.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code == httpx.codes.NOT_MODIFIED
        missing = http.get("/ui/x/../../settings.py")
        assert missing.status_code == httpx.codes.NOT_FOUND
        assert http.post("/").status_code == httpx.codes.METHOD_NOT_ALLOWED
