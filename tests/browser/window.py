"""A window in which Ann is signed in, used by one test after the other."""

from types import TracebackType
from typing import Final, Self

from playwright.sync_api import Browser

from tests.browser.dashboard import DESK, Dashboard
from tests.support.stack import Stack

#: Whether the page is as it was after the sign-in; what was noted of it begins anew.
_UNTOUCHED: Final = """() => {
  watched.longest = watched.shift = 0;
  return localStorage.length + sessionStorage.length === 0
    && !Object.hasOwn(document, "hidden") && !document.querySelector("dialog[open]");
}"""


class Window:
    """Signing in costs seconds: she does it once, and again when a test has left her otherwise."""

    def __init__(self, browser: Browser, stack: Stack) -> None:
        self._browser = browser
        self._stack = stack
        self._dashboard: Dashboard | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def at_rest(self) -> Dashboard:
        """On the list of builds, of a desk's size, with nothing that a test has put in its way."""
        if self._dashboard is None or not _calm(self._dashboard):
            self._close()
            self._dashboard = Dashboard(self._browser, self._stack)
            self._dashboard.__enter__().sign_in()
        return self._dashboard

    def _close(self) -> None:
        if self._dashboard is not None:
            self._dashboard.context.close()
            self._dashboard = None


def _calm(dashboard: Dashboard) -> bool:
    """Bring it to rest; returns whether that was possible."""
    page = dashboard.page
    dashboard.complaints.clear()
    dashboard.context.unroute_all()
    for more in dashboard.context.pages[1:]:
        more.close()
    page.emulate_media(
        media="null", color_scheme="null", forced_colors="null", reduced_motion="null"
    )
    page.set_viewport_size(DESK)
    if not page.get_by_role("button", name="Sign out").is_visible():
        return False
    dashboard.go("/")
    untouched: bool = page.evaluate(_UNTOUCHED)
    return untouched
