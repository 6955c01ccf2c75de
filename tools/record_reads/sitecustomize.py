"""Record which files of the repository a page reads. Python imports a module of this name when it starts.

``tools/book.py`` puts this folder on ``PYTHONPATH`` while it executes pages. pytest names the page in
``PYTEST_CURRENT_TEST``, which the page's kernel and the Python processes that it starts inherit. Each of them appends the
paths of files that it opens for reading, and of folders that it lists, to ``PAGE.reads`` in the folder ``BOOK_READS``, one
path relative to ``BOOK_ROOT`` a line. A compiled module is recorded as its source file. Files that compiled code opens by
itself, such as ``cv2.imread`` does, are not seen.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def record_reads(root: str, log: str) -> None:
    """Append to ``log`` what this process reads below ``root``. Hidden folders and ``_build`` are left out."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    recorded: set[str] = set()
    real_folders: dict[str, str] = {}

    def note(path: str) -> None:
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder)
        folder = real_folders[folder]
        if os.path.basename(folder) == "__pycache__":
            # pkg/__pycache__/module.cpython-311.pyc is compiled from pkg/module.py.
            folder, name = os.path.dirname(folder), f"{name.split('.')[0]}.py"
        path = os.path.relpath(os.path.join(folder, name), root)
        if path not in recorded and path[0] != "." and path.split(os.sep)[0] != "_build":
            recorded.add(path)
            os.write(descriptor, os.fsencode(f"{path}\n"))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event in ("os.listdir", "os.scandir"):
            path = arguments[0] or "."
            # The import system lists every folder in which it looks for a module.
            if "importlib" in sys._getframe(1).f_globals.get("__name__", ""):
                return
        else:
            return
        if not isinstance(path, int):  # the number of a file that is open already
            note(os.fsdecode(path))

    sys.addaudithook(hook)


page = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
if page.endswith(".ipynb") and "BOOK_READS" in os.environ:
    record_reads(os.environ["BOOK_ROOT"], os.path.join(os.environ["BOOK_READS"], f"{page}.reads"))
