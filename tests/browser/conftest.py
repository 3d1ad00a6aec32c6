"""One headless Chromium for all of these tests, and one stack for those who break nothing."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.dashboard import Dashboard
from tests.needs import needs
from tests.stack import Stack


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one file: while it is there, its event loop is in the way of every other."""
    # Without its own sandbox, which root and containers do not have; it sees only our own pages.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=needs("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"BATON_LOG_LIMIT": "130000000", "BATON_MAX_BUILD_TIMEOUT": "1200"}
    with Stack(tmp_path_factory.mktemp("stack"), **settings) as stack:
        stack.worker(concurrency=3)
        yield stack


@pytest.fixture
def dashboard(browser: Browser, stack: Stack) -> Iterator[Dashboard]:
    """A browser that nobody has signed in with."""
    with Dashboard(browser, stack) as dashboard:
        yield dashboard


@pytest.fixture
def ann(browser: Browser, stack: Stack) -> Iterator[Dashboard]:
    """A browser in which Ann is signed in."""
    with Dashboard(browser, stack) as dashboard:
        yield dashboard.sign_in()
