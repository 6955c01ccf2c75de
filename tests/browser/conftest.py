"""A real browser, and the built book served to it from this machine."""

import functools
import http.server
import os
import shutil
import threading

import pytest
from inspection import HTML, ROOT, book
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
