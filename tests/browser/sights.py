"""One page looked at in four ways: in both themes, on a desk and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.dashboard import DESK, PHONE

_SIZES: Final = {"desk": DESK, "phone": PHONE}

#: What follows the size has followed it, and nothing is between two colours.
_SETTLED: Final = """() => new Promise((done) => {
  const fading = () => document.getAnimations().some((each) => each instanceof CSSTransition);
  const look = () => (fading() ? requestAnimationFrame(look) : done());
  requestAnimationFrame(() => requestAnimationFrame(look));
})"""


def sights(page: Page) -> Iterator[str]:
    """Show the page in each way; gives the way's name."""
    session = page.context.new_cdp_session(page)
    for size, viewport in _SIZES.items():
        page.set_viewport_size(viewport)
        session.send("Emulation.setTouchEmulationEnabled", {"enabled": size == "phone"})
        for theme in themes(page):
            yield f"{size}-{theme}"
    page.set_viewport_size(DESK)
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    session.detach()


def themes(page: Page) -> Iterator[str]:
    page.emulate_media(color_scheme="light")
    page.evaluate(_SETTLED)
    yield "light"
    page.emulate_media(color_scheme="dark")
    page.evaluate(_SETTLED)
    yield "dark"
    page.emulate_media(color_scheme="null")


def clean(page: Page) -> None:
    """Axe finds nothing to complain about."""
    found = Axe().run(page, options={"resultTypes": ["violations", "passes"]})
    assert not found.response["violations"], found.generate_report()
    assert len(found.response["passes"]) > 10, "axe saw nothing"


def fits(page: Page) -> None:
    """Nothing has to be scrolled sideways."""
    wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0


def good_in_every_way(page: Page, name: str, pictures: Path) -> None:
    """Clean and fitting, with a picture of each way."""
    for way in sights(page):
        clean(page)
        fits(page)
        page.screenshot(path=pictures / f"{name}-{way}.png")
