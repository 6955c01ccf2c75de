"""Opens one page in a browser and returns all that is wrong with it, light and dark, on a desk and on a phone."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "tools"))

import book  # noqa: E402
import export  # noqa: E402
import live_images  # noqa: E402

__all__ = ["HTML", "ROOT", "book", "export", "faults", "live_images"]

# Preloading, axe looks for imported style sheets beside the page instead of beside the sheet, and causes errors of its own.
LEVELS = {"preload": False, "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa"]}}
# Names, roles and languages are the same in light and dark, but a phone shows other elements than a desk.
STRUCTURE = {
    "preload": False,
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "best-practice"]},
    # The corner cell of a table with row names is empty, which WCAG allows.
    "rules": {"color-contrast": {"enabled": False}, "empty-table-header": {"enabled": False}},
}
COLOURS = {"preload": False, "runOnly": {"type": "rule", "values": ["color-contrast"]}}
# A page without its pictures.
LARGEST_PAGE = 1_000_000

# Elements that stick out of the page to the right, unless something around them scrolls or cuts.
OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  const contained = element => {
    for (let e = element.parentElement; e && e !== document.body; e = e.parentElement) {
      if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX)) return true;
    }
    return false;
  };
  return [...document.querySelectorAll('main *')]
    .filter(e => e.checkVisibility({visibilityProperty: true}) && !e.closest('.bd-sidebar-secondary'))
    .filter(e => e.getBoundingClientRect().right > width + 1 && !contained(e))
    .map(e => e.tagName.toLowerCase() + '.' + e.className);
}"""
NO_ALT = """() => [...document.images]
  .filter(i => !i.hasAttribute('alt') || (i.closest('main') && !i.alt.trim()) || /\\.(png|svg|jpg)$/.test(i.alt))
  .map(i => i.src)"""
BROKEN = "() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
# What packages say of their own working helps nobody who reads.
REMARKS = """() => [...document.querySelectorAll('.cell_output')]
  .map(o => o.textContent.match(/(WARNING|ERROR):.*/)).filter(found => found).map(found => found[0].slice(0, 80))"""
UNTYPESET = "() => [...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container')).length"


# Of all elements with the same letters over the same backgrounds the first stands for the others. They are nearly all of a
# page, and axe, which looks at each, takes many times as long with them.
NOTE_NEEDED = """() => {
  const behind = new Map([[document.documentElement, '']]), seen = new Set();
  for (const e of document.querySelectorAll('body, body *')) {
    const style = getComputedStyle(e);
    const own = [style.backgroundColor, style.backgroundImage, style.opacity, style.filter, style.position].join(' ');
    const plain = own === 'rgba(0, 0, 0, 0) none 1 none static';
    behind.set(e, behind.get(e.parentElement) + (plain ? '' : own + '; '));
    // A style gives others their looks.
    if (e.matches('style, link')) for (let p = e; p; p = p.parentElement) p.dataset.needed = '';
    const letters = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
    if (!letters && !e.matches('input, select') || !e.checkVisibility({visibilityProperty: true})) continue;
    const looks = [behind.get(e), style.color, style.fontSize, style.fontWeight, style.textShadow].join('|');
    if (!seen.has(looks)) for (let p = e; p; p = p.parentElement) p.dataset.needed = '';
    seen.add(looks);
  }
}"""
REMOVE = "parts => document.querySelectorAll(parts).forEach(e => e.remove())"
# Letters of code and of formulas have no structure of their own.
ALIKE_LETTERS = ".highlight pre span:not([data-needed]), mjx-container :not([data-needed])"
ALIKE = "body :not([data-needed])"
# Colours that change in a transition are, in the middle of it, no colours of the page.
NO_TRANSITIONS = "*, ::before, ::after { transition: none !important; animation: none !important }"
LOOKS = [(scheme, width) for width in (1280, 390) for scheme in ("light", "dark")]


def faults(browser, address, page):
    """Return a list of faults of one page, in words. The page is opened once and looked at in every way."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    found, errors = [], []
    own = urlsplit(address).netloc

    def leave_alone(route):
        found.append(f"asks another host for {route.request.url}")
        route.abort()

    tab.route(lambda url: urlsplit(url).netloc not in (own, "") and urlsplit(url).scheme != "data", leave_alone)
    tab.on("console", lambda message: errors.append(f"console: {message.text}") if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(f"script error: {error}"))
    tab.goto(f"{address}/{page}.html", wait_until="load")
    tab.wait_for_function(f"({UNTYPESET})() === 0 || !window.MathJax", timeout=60_000)
    if untypeset := tab.evaluate(UNTYPESET):
        found.append(f"{untypeset} formulas are not typeset")
    found += [f"picture without alt text: {source}" for source in tab.evaluate(NO_ALT)]
    found += [f"picture that does not load: {source}" for source in tab.evaluate(BROKEN)]
    found += [f"remark of a package: {remark}" for remark in tab.evaluate(REMARKS)]
    weight = len(tab.content().encode())
    if weight > LARGEST_PAGE:
        found.append(f"weighs {weight:,} bytes without its pictures")
    tab.add_style_tag(content=NO_TRANSITIONS)
    for look in LOOKS:
        _set_look(tab, *look)
        found += [f"sticks out to the right: {element} {look}" for element in tab.evaluate(OVERFLOW)]
        if tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"):
            found.append(f"scrolls sideways {look}")
        tab.evaluate(NOTE_NEEDED)
    tab.evaluate(REMOVE, ALIKE_LETTERS)
    for look in LOOKS[::2]:
        _set_look(tab, *look)
        # The theme lets the keyboard reach what has begun to scroll, a moment after the window has its new width.
        tab.wait_for_timeout(500)
        found += [f"{violation} {look}" for violation in _violations(tab, STRUCTURE)]
    # Scripts of the page may miss what is removed now: what they say of it is no fault.
    found += errors
    tab.evaluate(REMOVE, ALIKE)
    for look in LOOKS:
        _set_look(tab, *look)
        found += [f"{violation} {look}" for violation in _violations(tab, COLOURS)]
    context.close()
    return found


def _set_look(tab, scheme, width):
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=scheme)
    tab.evaluate(f"document.documentElement.dataset.mode = document.documentElement.dataset.theme = '{scheme}'")
    tab.wait_for_timeout(100)


def _violations(tab, options):
    for violation in Axe().run(tab, options=options).response["violations"]:
        where = violation["nodes"][0]["target"]
        yield f"axe: {violation['id']}: {violation['help']} ({len(violation['nodes'])} times, {where})"
