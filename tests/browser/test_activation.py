"""The page on which a terminal is connected, in a real browser: its policy lets it work."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from app.issuer.application import create_issuer
from tests.browser.sights import clean, themes
from tests.support.providers.tenant import AUDIENCE, SCOPE, config
from tests.support.servers.serving import serve

pytestmark = pytest.mark.slow

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with serve(lambda url: create_issuer(config(url))) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def begin(issuer: str) -> dict[str, str]:
    form = {"client_id": "baton-cli", "audience": AUDIENCE, "scope": SCOPE}
    told: dict[str, str] = httpx.post(f"{issuer}/oauth/device/code", data=form).json()
    return told


def clean_in_both_themes(page: Page) -> None:
    for _ in themes(page):
        clean(page)


def answered(issuer: str, told: dict[str, str]) -> httpx.Response:
    form = {"grant_type": _GRANT, "client_id": "baton-cli", "device_code": told["device_code"]}
    return httpx.post(f"{issuer}/oauth/token", data=form)


def test_a_person_types_the_code_and_allows_the_terminal_by_keyboard(
    issuer: str, page: Page
) -> None:
    told = begin(issuer)
    page.goto(told["verification_uri"])
    clean_in_both_themes(page)
    page.keyboard.type(told["user_code"].lower().replace("-", ""))
    page.keyboard.press("Enter")
    expect(page.get_by_text(told["user_code"])).to_be_visible()
    clean_in_both_themes(page)
    page.keyboard.type("ann")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your terminal is connected")).to_be_visible()
    clean_in_both_themes(page)
    assert answered(issuer, told).status_code == httpx.codes.OK


def test_a_person_who_does_not_know_the_terminal_denies_it_without_a_name(
    issuer: str, page: Page
) -> None:
    told = begin(issuer)
    page.goto(told["verification_uri_complete"])
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading", name="Denied")).to_be_visible()
    assert answered(issuer, told).json()["error"] == "access_denied"


def test_a_wrong_code_may_be_corrected(issuer: str, page: Page) -> None:
    told = begin(issuer)
    page.goto(f"{told['verification_uri']}?user_code=BBBB-BBBB")
    expect(page.get_by_role("alert")).to_contain_text("No terminal waits")
    clean_in_both_themes(page)
    page.get_by_label("Code").fill(told["user_code"])
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_label("User name")).to_be_visible()
