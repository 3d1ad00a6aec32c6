"""Signing in and out, and what stays behind: nothing."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser.builds import ran, submit
from tests.browser.dashboard import PATIENCE, Dashboard
from tests.support.signing_in.code_flow import user_token
from tests.support.stack import AUDIENCE, SCOPE, Stack

pytestmark = pytest.mark.slow

_STORED = """async () => JSON.stringify([
  {...localStorage}, {...sessionStorage}, document.cookie,
  await caches.keys(), await indexedDB.databases(),
])"""
_NOTHING = '[{},{},"",[],[]]'


def test_a_user_signs_in_with_a_code_and_keeps_the_token_in_memory_only(
    dashboard: Dashboard,
) -> None:
    dashboard.sign_in()
    expect(dashboard.page.locator(".who")).to_have_text("ann")
    expect(dashboard.page).to_have_url(f"{dashboard.stack.api_url}/#/")
    assert dashboard.page.evaluate(_STORED) == _NOTHING


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
    assert ann.page.evaluate(_STORED) == _NOTHING
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


class Renewing:
    """Puts refresh tokens into the issuer's answers, and renews for them, each once."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.stack = dashboard.stack
        self.renewed: list[str] = []
        self.away = False
        dashboard.context.route("**/oauth/token", self._answer)

    def _answer(self, route: Route) -> None:
        form = parse_qs(route.request.post_data or "")
        if form["grant_type"] == ["authorization_code"]:
            tokens = route.fetch().json()
        elif self.away:
            return route.abort()
        else:
            self.renewed += form["refresh_token"]
            token = user_token(self.stack.issuer_url, user="ann", scope=SCOPE, audience=AUDIENCE)
            tokens = {"access_token": token, "token_type": "Bearer", "expires_in": _LIFETIME}
        more = {"refresh_token": f"refresh-{len(self.renewed)}"}
        return route.fulfill(json=tokens | more, headers={"Access-Control-Allow-Origin": "*"})


#: Seconds of a token; less than the build that is watched takes.
_LIFETIME = 6


@pytest.fixture
def renewing(browser: Browser, tmp_path: Path) -> Iterator[tuple[Dashboard, Renewing]]:
    """Somebody watching a build, whose token ends again and again while its log comes."""
    settings = {"BATON_ISSUER_USER_LIFETIME": str(_LIFETIME), "BATON_LEEWAY": "0"}
    with Stack(tmp_path, **settings) as stack, Dashboard(browser, stack) as dashboard:
        stack.worker()
        issuer = Renewing(dashboard)
        talk = "for i in $(seq 100); do echo tick $i; sleep 0.2; done"
        dashboard.sign_in(f"/builds/{submit(stack, ('talk', talk))}")
        dashboard.see(dashboard.log.get_by_text(re.compile(r"^tick \d+$")).first)
        yield dashboard, issuer
        expect(dashboard.badge).to_contain_text("Succeeded", timeout=90_000)
        dashboard.see(dashboard.log_facts, "101 lines")
        expect(dashboard.page.get_by_role("dialog")).to_have_count(0)
        # Each one is used once, as issuers that rotate them want it.
        assert issuer.renewed == [f"refresh-{number}" for number in range(len(issuer.renewed))]
        assert len(issuer.renewed) >= 2
        assert dashboard.page.evaluate(_STORED) == _NOTHING


def test_refresh_tokens_renew_without_anybody_noticing(
    renewing: tuple[Dashboard, Renewing],
) -> None:
    dashboard, issuer = renewing
    dashboard.page.evaluate("window.mark = 'the same page'")
    expect(dashboard.badge).to_contain_text("Succeeded", timeout=90_000)
    assert dashboard.page.evaluate("window.mark") == "the same page"
    assert issuer.renewed


def test_an_issuer_that_is_away_when_a_token_ends_is_asked_again(
    renewing: tuple[Dashboard, Renewing],
) -> None:
    dashboard, issuer = renewing
    issuer.away = True
    dashboard.see(dashboard.page.locator(".log-trouble"), "trying again")
    issuer.away = False
    expect(dashboard.page.locator(".log-trouble")).to_be_hidden(timeout=PATIENCE)


_ISSUER = """async ([at, issuer, act]) => {
  const { Issuer } = await import(at);
  const api = "https://api.example.com/";
  const found = new Issuer({ issuer, client_id: "spa", audience: api, scope: "openid" });
  return act === "sign out" ? found.signOutUrl() : (await found.request()).url;
}"""


def test_an_issuer_below_a_path_is_found_as_rfc_8414_has_it(ann: Dashboard) -> None:
    """RFC 8414 §3.1: the well-known part stands before the path; there is no OpenID document."""
    issuer = f"{ann.stack.issuer_url}realms/one"
    metadata = {"issuer": issuer, "authorization_endpoint": f"{issuer}/authorize?a=b"}
    way = "**/.well-known/oauth-authorization-server/realms/one"
    headers = {"Access-Control-Allow-Origin": "*"}
    ann.context.route(way, lambda route: route.fulfill(json=metadata, headers=headers))
    url = ann.page.evaluate(_ISSUER, [module(ann, "issuer"), issuer, "sign in"])
    asked = dict(parse_qsl(urlsplit(url).query))
    assert url.startswith(f"{issuer}/authorize?")
    assert (asked["a"], asked["code_challenge_method"]) == ("b", "S256")
    assert asked["audience"] == "https://api.example.com/"


def test_auth0s_older_tenants_are_signed_out_of_in_their_own_way(ann: Dashboard) -> None:
    about = [module(ann, "issuer"), "https://acme.eu.auth0.com/", "sign out"]
    url = urlsplit(ann.page.evaluate(_ISSUER, about))
    assert (url.netloc, url.path) == ("acme.eu.auth0.com", "/v2/logout")
    assert dict(parse_qsl(url.query)) == {
        "client_id": "spa",
        "returnTo": f"{ann.stack.api_url}/",
    }


def module(dashboard: Dashboard, name: str) -> str:
    """The address of one of the page's scripts."""
    main = dashboard.page.locator("script[src]").evaluate("(script) => script.src")
    return str(main).replace("main.js", f"{name}.js")


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
