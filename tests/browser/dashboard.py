"""The dashboard in a real browser, as a person uses it."""

import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    ViewportSize,
    expect,
)

from tests.support.stack import Stack

#: Milliseconds; a busy machine needs them.
PATIENCE = 30_000
DESK: ViewportSize = {"width": 1360, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}

#: Notes how long the page was deaf, how far its content jumped, and whom it talked to.
_WATCH = """
window.watched = {longest: 0, shift: 0};
new PerformanceObserver((list) => {
  for (const e of list.getEntries()) watched.longest = Math.max(watched.longest, e.duration);
}).observe({type: 'longtask', buffered: true});
new PerformanceObserver((list) => {
  for (const e of list.getEntries()) if (!e.hadRecentInput) watched.shift += e.value;
}).observe({type: 'layout-shift', buffered: true});
"""

#: What a browser says of calls that fail while a part is away or a token is over, as tests want it.
_EXPECTED = re.compile(r"Failed to load resource: (net::ERR|the server responded with a status of)")


@dataclass
class Dashboard:
    """A browser of its own, with a window on the dashboard; nobody is signed in yet."""

    browser: Browser
    stack: Stack
    options: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        options = {"viewport": DESK, "locale": "en-GB", "timezone_id": "UTC", **self.options}
        self.context: BrowserContext = self.browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(_WATCH)
        self.page: Page = self.context.new_page()
        self.context.on("console", lambda message: self._heard(message.type, message.text))
        self.context.on("weberror", lambda error: self._heard("error", str(error.error)))
        self.context.on("request", lambda request: self._asked(request.url))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.context.close()
        if error is None:
            assert not self.complaints

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not _EXPECTED.match(text):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        ours = (self.stack.api_url, self.stack.issuer_url, "data:", "blob:", "about:")
        if not url.startswith(ours):
            self.complaints.append(f"the page talked to {url}")

    # ── what a person does ────────────────────────────────────────────────────────────────────

    def open(self, route: str = "/") -> Self:
        self.page.goto(f"{self.stack.api_url}/#{route}")
        return self

    def sign_in(self, route: str = "/", *, user: str = "ann") -> Self:
        self.open(route)
        self.page.get_by_role("button", name="Sign in").click()
        self.be(self.page, user)
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible(timeout=PATIENCE)
        return self

    def be(self, page: Page, user: str) -> None:
        """Fill in the issuer's own page."""
        page.get_by_label("User name").fill(user)
        page.get_by_role("button", name="Continue").click()

    def go(self, route: str) -> Self:
        """Within the page, as a link does."""
        self.page.evaluate("(hash) => { location.hash = hash; }", route)
        return self

    # ── what a person sees ────────────────────────────────────────────────────────────────────

    @property
    def badge(self) -> Locator:
        return self.page.locator(".build-head .badge")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("table", name="Build log")

    @property
    def log_facts(self) -> Locator:
        return self.page.locator(".log-facts")

    def line(self, number: int) -> Locator:
        return self.log.locator(f'.row:has([data-line="{number - 1}"])')

    def see(self, found: Locator, text: str | re.Pattern[str] | None = None) -> None:
        if text is None:
            expect(found).to_be_visible(timeout=PATIENCE)
        else:
            expect(found).to_contain_text(text, timeout=PATIENCE)

    def watched(self) -> dict[str, float]:
        """`longest`: milliseconds for which the page was deaf; `shift`: how far things jumped."""
        found: dict[str, float] = self.page.evaluate("watched")
        return found
