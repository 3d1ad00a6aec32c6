"""One headless Chromium, one stack for those who break nothing, and one window on it.

For this folder, whose tests run in one process: while the browser is there, its event loop is in
the way of every other.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.dashboard import Dashboard
from tests.browser.window import Window
from tests.support.needs import chromium
from tests.support.stack import Stack


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Without its own sandbox, which root and containers do not have; it sees only our own pages.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def window(browser: Browser, stack: Stack) -> Iterator[Window]:
    with Window(browser, stack) as window:
        yield window


@pytest.fixture
def ann(window: Window) -> Iterator[Dashboard]:
    """Ann's window on the list of her builds; she is signed in."""
    dashboard = window.at_rest()
    yield dashboard
    assert not dashboard.complaints
