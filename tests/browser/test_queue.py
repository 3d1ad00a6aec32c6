"""A build that waits says where it stands and why."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.builds import ended, submit
from tests.browser.dashboard import PATIENCE, Dashboard
from tests.support.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that lets each user have one build under way, without a worker yet."""
    with Stack(tmp_path_factory.mktemp("stack"), BATON_USER_CONCURRENCY="1") as stack:
        yield stack


def test_a_queued_build_says_why_it_waits(browser: Browser, narrow: Stack) -> None:
    stack = narrow
    with Dashboard(browser, stack) as ann:
        first = submit(stack, ("first", "echo begun; sleep 6"))
        second = submit(stack, ("second", "true"))
        third = submit(stack, ("third", "true"))
        note = ann.sign_in(f"/builds/{first}").page.get_by_label("Why it waits")
        ann.see(note, "No worker has been seen here yet")

        stack.worker(concurrency=1)
        expect(note).to_be_hidden(timeout=PATIENCE)
        ann.see(ann.badge, "Running")

        ann.go(f"/builds/{third}")
        ann.see(note, "Waiting for your other builds")
        ann.see(note, "You have 1 build under way, the most at once here")
        ann.see(note, "Yours before it1 build")
        ended(stack, first)
        ended(stack, second)
        ann.see(ann.badge, "Succeeded")


def test_a_queued_build_says_that_the_provider_is_away(browser: Browser, narrow: Stack) -> None:
    stack = narrow
    with Dashboard(browser, stack) as ann:
        ann.sign_in()
        stack.token()
        stack.issuer.stop()
        build_id = submit(stack, ("one", "true"))
        ann.go(f"/builds/{build_id}")
        note = ann.page.get_by_label("Why it waits")
        ann.see(note, "Waiting for the identity provider")
        ann.page.get_by_role("button", name="Cancel").click()
        ann.page.get_by_role("button", name="Cancel the build").click()
        ann.see(ann.badge, "Cancelled")
