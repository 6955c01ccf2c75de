"""Every page as a reader meets it: light and dark, on a desk and on a phone; and by keyboard alone."""

import json
import re
import subprocess
import sys

import pytest
from inspection import HTML, ROOT, book, faults


@pytest.mark.parametrize("page", book.pages(ROOT))
def test_page_has_no_fault(chromium, address, page):
    assert faults(chromium, address, page) == []


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        ('<p><img src="_static/logo.svg"></p>', "picture without alt text"),
        ('<script src="https://example.org/a.js"></script>', "asks another host"),
        ('<table style="width: 2000px; display: table"><tr><td>wide</td></tr></table>', "sticks out to the right"),
        ("<script>undefinedFunction()</script>", "script error"),
        ('<p style="color: #eee; background: #fff">pale</p>', "axe: color-contrast"),
        (
            "<p>one</p><p>two <i>dark</i></p><style>[data-theme=dark] i { color: #222; background: #111 }</style>",
            "axe: color-contrast",
        ),
        (
            "<p>one</p><p>two <i>narrow</i></p><style>@media (width < 500px) { i { color: #ddd } }</style>",
            "axe: color-contrast",
        ),
        ('<img src="nowhere.png" alt="a picture">', "picture that does not load"),
        ('<div class="cell_output"><pre>WARNING:tensorflow:slow</pre></div>', "remark of a package: WARNING:tensorflow"),
    ],
)
def test_a_planted_fault_is_found(chromium, serve, tmp_path, planted, complaint):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "logo.svg").write_text((ROOT / "_static" / "logo.svg").read_text())
    page = (
        f'<!DOCTYPE html><html lang="en"><head><title>t</title></head><body><main><h1>t</h1>{planted}</main></body></html>'
    )
    (tmp_path / "page.html").write_text(page)
    found = faults(chromium, serve(tmp_path), "page")
    assert any(fault.startswith(complaint) for fault in found), found


def test_a_dead_link_planted_in_the_built_book_is_found(address, tmp_path):
    intro = (HTML / "intro.html").read_text()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "intro.html").write_text(intro.replace("</main>", '<a href="chapters/nowhere.html">x</a></main>'))
    assert "intro.html has a dead link to chapters/nowhere.html" in book.check(tmp_path, tmp_path / "html")


@pytest.fixture
def tab(chromium, address):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/intro.html")
    yield page
    context.close()


def press_until(tab, condition, key="Tab", limit=80):
    """Press a key until a JavaScript condition on the focused element holds."""
    for _ in range(limit):
        tab.keyboard.press(key)
        if tab.evaluate(f"(e => {condition})(document.activeElement)"):
            return
    pytest.fail(f"{limit} times {key} did not reach: {condition}")


# Whether the contents of the book are on the screen.
CONTENTS = """[...document.querySelectorAll('.bd-sidebar-primary a[href*="first_vae"]')].some(a =>
  a.checkVisibility({visibilityProperty: true, opacityProperty: true}) && a.getBoundingClientRect().right > 0)"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_contents_open_and_close_and_lead_to_a_page(chromium, address, width):
    phone = width == 390
    context = chromium.new_context(viewport={"width": width, "height": 900}, has_touch=phone)
    tab = context.new_page()
    tab.goto(f"{address}/intro.html")
    button = tab.locator(".primary-toggle:visible")
    press = button.tap if phone else button.click
    assert not tab.evaluate(CONTENTS)
    press()
    tab.wait_for_function(CONTENTS)
    # On a phone the contents cover the button.
    tab.keyboard.press("Escape") if phone else press()
    tab.wait_for_function(f"!({CONTENTS})")
    press()
    tab.wait_for_function(CONTENTS)
    link = tab.locator(".bd-sidebar-primary a[href*='first_vae']")
    link.tap() if phone else link.click()
    tab.wait_for_url(re.compile("first_vae"))
    context.close()


def test_the_keyboard_alone_reaches_a_page_through_the_navigation(tab):
    press_until(tab, "e.matches('.primary-toggle')")
    tab.keyboard.press("Enter")
    tab.wait_for_function(CONTENTS)
    # The contents come before the button.
    press_until(tab, "e.closest('.bd-sidebar-primary') && e.href && e.href.includes('/chapters/')", key="Shift+Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_url(re.compile("/chapters/"))
    assert tab.locator("article h1").first.is_visible()


def test_the_keyboard_alone_searches_and_the_search_finds(tab):
    tab.keyboard.press("Control+k")
    tab.keyboard.type("discriminator")
    tab.keyboard.press("Enter")
    tab.wait_for_url(re.compile("search.html"))
    tab.wait_for_selector("ul.search li a", timeout=20_000)
    assert any("gan" in link for link in tab.eval_on_selector_all("ul.search li a", "links => links.map(a => a.href)"))


def test_the_search_of_a_book_opened_from_disk_finds_without_failed_requests(chromium):
    tab = chromium.new_page()
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.goto(f"{(HTML / 'search.html').as_uri()}?q=watermark")
    tab.wait_for_selector("ul.search li a", timeout=20_000)
    tab.wait_for_timeout(1000)
    tab.close()
    assert errors == []


def test_the_keyboard_alone_opens_a_solution(tab, address):
    tab.goto(f"{address}/chapters/convolution/sliding_sums.html")
    body = "document.querySelector('.solution.dropdown > section').checkVisibility({visibilityProperty: true})"
    assert not tab.evaluate(body)
    press_until(tab, "e.matches('.solution.dropdown .toggle-button')", limit=400)
    tab.keyboard.press("Enter")
    tab.wait_for_function(body, timeout=5000)


def test_code_can_be_copied(tab, address):
    tab.goto(f"{address}/chapters/convolution/sliding_sums.html")
    assert tab.locator("button.copybtn").count() >= tab.locator("div.cell_input").count() > 0


def test_a_downloaded_page_runs_alone(tmp_path, address, pages):
    """The notebook that the page offers is complete: it runs in an empty folder."""
    page = next(page for page in pages if "sliding_sums" in page)
    source = HTML / "_sources" / f"{page}.ipynb"
    (tmp_path / "page.ipynb").write_bytes(source.read_bytes())
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--nbmake", tmp_path / "page.ipynb"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert json.loads(source.read_text())["nbformat"] == 4
