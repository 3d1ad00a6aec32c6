"""The log: what a terminal would show, found again, and never too long."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.builds import STORY, ended, ran, submit
from tests.browser.dashboard import PATIENCE, Dashboard
from tests.browser.sights import themes
from tests.support.stack import Stack

pytestmark = pytest.mark.slow


def test_a_log_looks_as_in_a_terminal(ann: Dashboard, stack: Stack) -> None:
    script = (
        "printf '\\033[31mred\\033[0m plain\\n'\n"
        "printf 'a long text\\rshort\\033[K\\n'\n"
        "printf '\\033[1;32mgreen goes on\\nover lines\\033[0m\\n'\n"
        "printf '\\033[38;5;208morange\\033[48;2;1;2;3m deep\\n\\033[0m'\n"
        "printf 'abc\\b\\bX\\ta\\n'\n"
        "printf '<b>not bold</b>\\033]0;title\\007 end\\n'\n"
    )
    ann.go(f"/builds/{ran(stack, ('show', script))}")
    ann.see(ann.line(2), "red plain")
    expect(ann.line(2).locator(".f1")).to_have_text("red")
    expect(ann.line(3).locator(".content")).to_have_text("short")
    expect(ann.line(5).locator(".f2.bold")).to_have_text("over lines")
    expect(ann.line(6).locator(".lit")).to_have_text("orange")
    expect(ann.line(7).locator(".content")).to_have_text("aXc     a")
    expect(ann.line(8).locator(".content")).to_have_text("<b>not bold</b> end")


_HIDDEN = """(all) => all.map((each) => [each.textContent, getComputedStyle(each)])
  .filter(([, style]) => style.color === style.backgroundColor).map(([text]) => text)"""


def test_whatever_colours_a_build_names_can_be_read(ann: Dashboard, stack: Stack) -> None:
    each = r"\033[48;5;${i}m $i\033[38;5;${i}m x\033[0m\n"
    script = f'for i in $(seq 0 255); do printf "{each}"; done'
    ann.go(f"/builds/{ran(stack, ('colours', script))}")
    ann.see(ann.badge, "Succeeded")
    for _ in themes(ann.page):
        for place in ("Home", "End"):
            ann.log.press(place)
            found = Axe().run(ann.page, ".log", options={"runOnly": ["color-contrast"]})
            assert not found.response["violations"], found.generate_report()
            assert found.response["passes"], "axe saw no colours"
            # What is as its ground is, axe takes to be hidden on purpose.
            assert ann.log.locator(".content span").evaluate_all(_HIDDEN) == []


def test_links_lead_only_where_links_may(ann: Dashboard, stack: Stack) -> None:
    script = (
        "printf 'see \\033]8;;https://example.com/a\\033\\\\the report\\033]8;;\\033\\\\ now\\n'\n"
        "echo 'at (https://example.com/b?c=(d)), and so on'\n"
        "printf '\\033]8;;javascript:alert(1)\\007not this\\033]8;;\\007\\n'\n"
    )
    ann.go(f"/builds/{ran(stack, ('links', script))}")
    ann.see(ann.line(2), "see the report now")
    links = ann.log.locator(".content a")
    expect(links).to_have_text(["the report", "https://example.com/b?c=(d)"])
    for number, address in enumerate(("https://example.com/a", "https://example.com/b?c=(d)")):
        expect(links.nth(number)).to_have_attribute("href", address)
        expect(links.nth(number)).to_have_attribute("rel", "noopener noreferrer")
    expect(ann.line(4).locator(".content")).to_have_text("not this")


def test_commands_are_shown_as_words_and_found_as_such(ann: Dashboard, stack: Stack) -> None:
    script = (
        "echo '::warning::look out'\n"
        "echo '::error file=a.py,line=3,title=No%2C really::it is 100%25 broken'\n"
        "echo '##[error]so is this'\n"
        "echo 'not ::error:: here'\n"
    )
    ann.go(f"/builds/{ran(stack, ('say', script))}")
    expect(ann.line(2).locator(".content")).to_have_text("Warning: look out")
    words = "Error: a.py:3: No, really: it is 100% broken"
    expect(ann.line(3).locator(".content")).to_have_text(words)
    expect(ann.line(4).locator(".content")).to_have_text("Error: so is this")
    expect(ann.line(5).locator(".content")).to_have_text("not ::error:: here")
    ann.page.keyboard.press("e")
    expect(ann.page.locator(".row.chosen .content")).to_have_text(words)
    ann.page.keyboard.press("/")
    ann.page.keyboard.type("a.py:3")
    ann.see(ann.page.locator(".search-count"), "1 of 1")


def test_steps_and_groups_fold(ann: Dashboard, stack: Stack) -> None:
    ann.go(f"/builds/{ran(stack, *STORY)}")
    ann.see(ann.badge, "Failed")
    group = ann.page.get_by_role("button", name="Resolve packages")
    expect(group).to_have_attribute("aria-expanded", "false", timeout=PATIENCE)
    expect(ann.log.get_by_text("resolve package-7", exact=True)).to_have_count(0)
    group.click()
    ann.see(ann.log.get_by_text("resolve package-7", exact=True))
    ann.page.get_by_role("button", name="Fold all").click()
    expect(ann.log.locator(".row")).to_have_count(2, timeout=PATIENCE)
    ann.page.get_by_role("button", name="Unfold all").click()
    ann.log.press("End")
    ann.see(ann.log.get_by_text("1 failed, 37 passed"))


def test_folds_and_lines_are_reached_by_the_keyboard(ann: Dashboard, stack: Stack) -> None:
    build_id = ran(stack, *STORY)
    ann.go(f"/builds/{build_id}")
    ann.see(ann.badge, "Failed")
    group = ann.page.get_by_role("button", name="Resolve packages")
    ann.see(group)
    group.focus()
    group.press("Enter")
    expect(group).to_have_attribute("aria-expanded", "true")
    expect(group).to_be_focused()
    ann.log.press("Home")
    for key in ("j", "j", "j", "J", "J"):
        ann.page.keyboard.press(key)
    expect(ann.page).to_have_url(re.compile(rf"/{build_id}/L3-L5$"))
    expect(ann.page.locator(".row.chosen")).to_have_count(3)
    expect(ann.page.locator("#announcer")).to_have_text("Line 5: resolve package-3")
    ann.page.keyboard.press("K")
    ann.page.keyboard.press("o")
    expect(group).to_have_attribute("aria-expanded", "false")


def test_what_somebody_selects_stays_selected_while_the_log_grows(
    ann: Dashboard, stack: Stack
) -> None:
    build_id = submit(stack, ("talk", "for i in $(seq 15); do echo line $i; sleep 0.2; done"))
    ann.go(f"/builds/{build_id}")
    ann.see(ann.line(3), "line 2")
    ann.line(3).locator(".content").select_text()
    ended(stack, build_id)
    ann.see(ann.line(16), "line 15")
    assert ann.page.evaluate("String(getSelection())").strip() == "line 2"


def test_the_first_error_is_one_key_away_and_has_an_address(ann: Dashboard, stack: Stack) -> None:
    ann.go(f"/builds/{ran(stack, *STORY)}")
    ann.see(ann.badge, "Failed")
    ann.see(ann.log_facts, "lines")
    ann.page.keyboard.press("e")
    ann.see(ann.page.locator(".row.chosen"), "FAIL  tests/test_payment.py")
    expect(ann.page).to_have_url(re.compile(r"/L\d+$"))
    address = ann.page.url
    ann.page.locator(".row.chosen + .row .number").click(modifiers=["Shift"])
    expect(ann.page.locator(".row.chosen")).to_have_count(2)
    expect(ann.page).to_have_url(re.compile(r"/L\d+-L\d+$"))
    with Dashboard(ann.browser, stack) as other:
        other.sign_in(address.partition("#")[2])
        other.see(other.page.locator(".row.chosen"), "FAIL  tests/test_payment.py")


def test_a_log_is_searched_and_matches_in_folds_are_opened(ann: Dashboard, stack: Stack) -> None:
    ann.go(f"/builds/{ran(stack, *STORY)}")
    ann.see(ann.log_facts, "lines")
    ann.page.keyboard.press("/")
    ann.page.keyboard.type("PACKAGE-3")
    ann.see(ann.page.locator(".search-count"), "1 of 11")
    ann.see(ann.log.locator(".row.current"), "package-3")
    ann.page.keyboard.press("Enter")
    ann.see(ann.page.locator(".search-count"), "2 of 11")
    ann.see(ann.log.locator(".row.current mark"), "package-3")
    ann.page.keyboard.press("Shift+Enter")
    ann.see(ann.page.locator(".search-count"), "1 of 11")
    ann.page.get_by_role("button", name="Match case").click()
    ann.see(ann.page.locator(".search-count"), "None")
    ann.page.get_by_label("Search the log").fill("package-3")
    ann.see(ann.page.locator(".search-count"), "1 of 11")
    ann.page.get_by_label("Search the log").press("Escape")
    expect(ann.log.locator("mark")).to_have_count(0)


def test_following_lets_go_when_somebody_scrolls(ann: Dashboard, stack: Stack) -> None:
    script = (
        "for i in $(seq 400); do echo line $i; done\n"
        "for i in $(seq 100); do echo more $i; sleep 0.05; done\n"
    )
    build_id = submit(stack, ("talk", script))
    ann.go(f"/builds/{build_id}")
    follow = ann.page.get_by_role("button", name="Follow")
    ann.see(ann.log.get_by_text(re.compile(r"^more \d")).first)
    expect(follow).to_have_attribute("aria-pressed", "true")
    ann.log.hover()
    ann.page.mouse.wheel(0, -4000)
    expect(follow).to_have_attribute("aria-pressed", "false")
    there = ann.log.locator(".row .content").first.text_content()
    ended(stack, build_id)
    ann.see(ann.badge, "Succeeded")
    assert ann.log.locator(".row .content").first.text_content() == there
    ann.log.press("End")
    ann.see(ann.log.get_by_text("more 100", exact=True))


def test_the_raw_log_is_saved_byte_for_byte(ann: Dashboard, stack: Stack) -> None:
    build_id = ran(stack, ("bytes", "printf 'a\\r\\n\\033[31m\\303\\244\\377'"))
    ann.go(f"/builds/{build_id}")
    ann.see(ann.log_facts, "lines")
    with ann.page.expect_download() as saving:
        ann.page.get_by_role("button", name="Raw").click()
    assert saving.value.suggested_filename == f"{build_id}.log"
    assert saving.value.path().read_bytes() == b"==> bytes\na\r\n\x1b[31m\xc3\xa4\xff"


def test_a_hundred_thousand_lines_scroll(ann: Dashboard, stack: Stack) -> None:
    build_id = ran(stack, ("count", "seq -f 'line %.0f of a long log' 1 100000"))
    ann.go(f"/builds/{build_id}")
    ann.see(ann.log_facts, "100,001 lines")
    ann.log.press("End")
    ann.see(ann.line(100_001), "line 100000 of a long log")
    ann.log.press("Home")
    ann.see(ann.line(2), "line 1 of a long log")
    ann.log.hover()
    for _ in range(30):
        ann.page.mouse.wheel(0, 900)
    # The browser moves on its own time; an address asked for meanwhile would be scrolled away from.
    scroller = ann.page.locator(".scroller")
    expect(scroller).to_have_js_property("scrollTop", 30 * 900, timeout=PATIENCE)
    expect(ann.line(2)).to_have_count(0)
    assert ann.log.locator(".row").count() < 120
    ann.go(f"/builds/{build_id}/L77778")
    ann.see(ann.line(77_778), "line 77777 of")


def test_a_hundred_megabytes_open_without_freezing(dashboard: Dashboard, stack: Stack) -> None:
    script = "yes \"$(printf '\\033[36m%073d\\033[0m' 7)\" | head -c 100000000; echo; echo the end"
    build_id = ran(stack, ("flood", script))
    ann = dashboard.sign_in()  # in a page that holds nothing else
    ann.page.evaluate("watched.longest = 0")
    ann.go(f"/builds/{build_id}")
    ann.see(ann.badge, "Succeeded")
    ann.log.press("End")
    ann.see(ann.log_facts, "100 MB")
    ann.log.press("End")
    ann.see(ann.log.get_by_text("the end", exact=True))
    count = int(re.sub(r"\D", "", (ann.log_facts.text_content() or "").split("line")[0]))
    assert count > 1_000_000
    ann.page.keyboard.press("/")
    ann.page.keyboard.type("the end")
    ann.see(ann.page.locator(".search-count"), "1 of 1")
    # The middle of the scroll bar is the middle of the log, whatever its height in pixels.
    ann.page.locator(".scroller").evaluate("(e) => { e.scrollTop = e.scrollHeight / 2; }")
    number = ann.log.locator(".row .number").first
    expect(number).to_have_text(re.compile(rf"^{str(count // 2)[:2]}\d{{4}}$"), timeout=PATIENCE)
    heap = ann.page.evaluate("performance.memory.usedJSHeapSize")
    assert heap < 60_000_000
    # 60 to 90 ms where nothing else runs.
    assert ann.watched()["longest"] < 250
