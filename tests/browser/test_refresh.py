"""With `offline_access`, the dashboard renews its tokens by itself, and nobody is asked."""

from pathlib import Path
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, Request, Response, expect

from tests.browser.dashboard import PATIENCE, Dashboard
from tests.support.stack import SCOPE, Stack

pytestmark = pytest.mark.slow


def test_a_dashboard_with_a_refresh_token_stays_signed_in(browser: Browser, tmp_path: Path) -> None:
    settings = {
        "BATON_ISSUER_USER_LIFETIME": "4",
        "BATON_LEEWAY": "0",
        "BATON_DASHBOARD_SCOPE": f"{SCOPE} offline_access",
    }
    with Stack(tmp_path, **settings) as stack, Dashboard(browser, stack) as ann:
        ann.sign_in()
        used = []
        for _ in range(3):  # each with the successor of the last
            with ann.page.expect_response(renewed, timeout=PATIENCE) as renewing:
                pass
            assert renewing.value.status == 200
            used.append(token_in(renewing.value.request))
        assert len(set(used)) == len(used)
        expect(ann.page.locator(".who")).to_have_text("ann")
        expect(ann.page.get_by_role("dialog")).to_have_count(0)


def renewed(response: Response) -> bool:
    return "grant_type=refresh_token" in (response.request.post_data or "")


def token_in(request: Request) -> str:
    [token] = parse_qs(request.post_data or "")["refresh_token"]
    return token
