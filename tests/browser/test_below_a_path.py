"""The dashboard behind a proxy, below a path of its host."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.dashboard import PATIENCE, Dashboard
from tests.support.servers.certificates import certificate_for
from tests.support.servers.proxies import Nginx, spare_port
from tests.support.stack import Stack

pytestmark = pytest.mark.slow

HOST = "127.0.0.2"


def test_a_user_signs_in_follows_a_build_and_signs_out(browser: Browser, tmp_path: Path) -> None:
    url = f"https://{HOST}:{spare_port()}/baton"
    stack = Stack(tmp_path)
    stack.issuer.env["BATON_ISSUER_REDIRECT_URIS"] = f"http://127.0.0.1/callback {url}/"
    stack.issuer.env["BATON_CORS_ORIGINS"] = f"https://{urlsplit(url).netloc}"
    with stack:
        stack.worker()
        _, api_url = stack.replica(url)
        proxy = Nginx("below-a-path", url, api_url, certificate_for(HOST, tmp_path))
        stack.api_url = url
        with (
            proxy.start(tmp_path),
            Dashboard(browser, stack, options={"ignore_https_errors": True}) as dashboard,
        ):
            dashboard.sign_in()
            expect(dashboard.page).to_have_url(f"{url}/#/")
            script = "echo one; sleep 1; echo two; sleep 300"
            httpx.post(
                f"{api_url}/builds",
                json={"steps": [{"name": "wait", "run": script}]},
                headers={"Authorization": f"Bearer {stack.token()}"},
            )
            dashboard.page.locator("#main a[href*='#/builds/bld_']").first.click(timeout=PATIENCE)
            dashboard.see(dashboard.line(2), "one")
            dashboard.see(dashboard.line(3), "two")
            dashboard.page.get_by_role("button", name="Cancel").click()
            dashboard.page.get_by_role("button", name="Cancel the build").click()
            dashboard.see(dashboard.badge, "Cancelled")
            dashboard.page.get_by_role("button", name="Sign out").click()
            dashboard.see(dashboard.page.get_by_text("You are signed out."))
            expect(dashboard.page).to_have_url(f"{url}/#/signed-out")
