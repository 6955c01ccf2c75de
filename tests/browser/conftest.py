"""A real browser, and the built book served to it from this machine."""

import functools
import http.server
import os
import shutil
import threading

import pytest
from inspection import HTML, ROOT, book, live_images
from playwright.sync_api import sync_playwright


def unless_ci(reason):
    """Skip where a tool is missing; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium():
    """Chromium, as the system has it: nothing is downloaded."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        unless_ci(f"there is no browser on this machine: install one of {', '.join(names)}")
    with sync_playwright() as playwright:
        # Without a sandbox, since containers have no rights to make one; only our own pages are opened.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def serve():
    """Return a function that serves a folder and gives its address."""
    servers = []

    def start(folder):
        handler = functools.partial(QuietHandler, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="session")
def address(serve):
    """Where the built book is served."""
    if not (HTML / "index.html").is_file():
        unless_ci("the book is not built: run make book first")
    return serve(HTML)


@pytest.fixture(scope="session")
def pages():
    """The pages of the book, in their order."""
    return book.pages(ROOT)


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory):
    """A folder with the files of the live figures, and with the scripts of the models."""
    folder = tmp_path_factory.mktemp("live")
    live_images.prepare(folder)
    return folder


@pytest.fixture
def open_figure(chromium, live_folder):
    """A function that opens a page with one live figure from disk and starts the figure.

    ``tab.errors`` are the errors of scripts, and the requests for anything that is not on the disk.
    """
    contexts = []

    def start(name, settings="", width=1280, script=None):
        context = chromium.new_context(viewport={"width": width, "height": 900}, has_touch=width < 500)
        contexts.append(context)
        tab = context.new_page()
        if script:
            tab.add_init_script(script)
        tab.errors = []
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        local = ("file:", "blob:", "data:")
        tab.on("request", lambda request: request.url.startswith(local) or tab.errors.append(request.url))
        tab.goto(live_images.page(live_folder, name) + (f"#live-{name}:{settings}" if settings else ""))
        if not settings:
            tab.click(".live-start")
        tab.wait_for_selector(".live-end", timeout=30_000)
        return tab

    yield start
    for context in contexts:
        context.close()
