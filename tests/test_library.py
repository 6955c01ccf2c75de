"""What holds for the library as a whole."""

import ast
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

import imggen_lib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "imggen_lib"
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages([str(PACKAGE)], "imggen_lib.")
    if not re.match(r"imggen_lib\.(data(\.|$)|__main__)", info.name)
)
# Callbacks and the base class do nothing by themselves: their examples are those of what uses them.
WITHOUT_EXAMPLE = {"GenerativeModel", "Invertible", "ProgressBar", "Checkpoint", "StopOnSignal"}


def public(namespace, module):
    """Functions and classes that are defined in a module and have a public name."""
    for name, thing in vars(namespace).items():
        if name.startswith("_"):
            continue
        thing = getattr(thing, "__func__", thing)
        if isinstance(thing, property) or getattr(thing, "__module__", None) == module.__name__:
            yield name, thing


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring_with_an_example(name):
    module = importlib.import_module(name)
    assert inspect.getdoc(module)
    lacking = []
    for thing_name, thing in public(module, module):
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        documentation = thing.__doc__ or ""
        if not documentation or (thing_name not in WITHOUT_EXAMPLE and ">>>" not in documentation):
            lacking.append(thing_name)
        if inspect.isclass(thing):
            # The hooks of Keras's callbacks are described there.
            lacking += [
                f"{thing_name}.{method_name}"
                for method_name, method in public(thing, module)
                if (callable(method) or isinstance(method, property))
                and not method.__doc__
                and not method_name.startswith("on_")
            ]
    assert lacking == []


def listed_rooms():
    """The rooms in the order of the list in the package's docstring."""
    listed = re.findall(r"^``.*?``(?:, ``\w+``)*", imggen_lib.__doc__, re.MULTILINE)
    return [room for line in listed for room in re.findall(r"\w+", line)]


def test_the_package_lists_its_rooms_and_each_imports_only_rooms_above_it():
    rooms = listed_rooms()
    on_disk = {name.split(".")[1] for name in MODULES}
    assert set(rooms) == on_disk
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in rooms:
            continue
        used = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "imggen_lib":
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imggen_lib."):
                used.add(node.module.split(".")[1])
            elif isinstance(node, ast.Import):
                used |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("imggen_lib.")}
        below = {other for other in used - {room} if rooms.index(other) > rooms.index(room)}
        assert not below, f"{room} imports {below}, which the list has below it"


def reference_pages():
    """The pages about the library, in their order: the one that leads to the others first."""
    chapters = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"][-1]["chapters"]
    return [ROOT / f"{chapter['file']}.md" for chapter in chapters if "/api" in chapter["file"]]


def test_the_pages_about_the_library_have_every_room_once_and_in_its_order():
    front, *pages = reference_pages()
    assert {front, *pages} == set((ROOT / "chapters" / "outlook").glob("api*.md"))
    shown = [
        (page.stem, name)
        for page in pages
        for name in re.findall(r"^\.\. automodule:: (\S+)$", page.read_text(), re.MULTILINE)
    ]
    assert sorted(name for _, name in shown) == MODULES
    rooms = list(dict.fromkeys((page, name.split(".")[1]) for page, name in shown))
    assert [room for _, room in rooms] == listed_rooms()
    told = []
    for page, row in re.findall(r"^\| \{doc\}`(\w+)` \| (.*) \|$", front.read_text(), re.MULTILINE):
        told += [(page, room) for room in re.findall(r"imggen_lib\.(\w+)", row)]
    assert told == rooms


def constants(module):
    """The constants of a module that a comment describes for readers."""
    return re.findall(r"^(?:#: .*\n)+([A-Za-z]\w*) =", inspect.getsource(module), re.MULTILINE)


# How Keras saves, builds and updates, and what it calls in the course of a training: described there.
HOOKS = re.compile("build|compile_from_config|from_config|get_config|update_step|on_.*")


def wanted_in_the_reference():
    for name in MODULES:
        module = importlib.import_module(name)
        yield name
        yield from (f"{name}.{constant}" for constant in constants(module))
        for thing_name, thing in public(module, module):
            if inspect.isroutine(thing):
                yield f"{name}.{thing_name}"
            elif inspect.isclass(thing):
                yield f"{name}.{thing_name}"
                for part_name, part in public(thing, module):
                    described = inspect.isroutine(part) or isinstance(part, property)
                    if described and not HOOKS.fullmatch(part_name):
                        yield f"{name}.{thing_name}.{part_name}"


def test_the_pages_about_the_library_have_every_public_name_and_no_other(tmp_path):
    for page in reference_pages():
        (tmp_path / page.name).write_text(f"---\norphan: true\n---\n{page.read_text()}")
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    settings = {name: value for name, value in settings.items() if name.startswith(("autodoc", "napoleon", "nitpick"))}
    settings["extensions"] = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser", "imggen_book"]
    settings |= {"nitpicky": True, "root_doc": "api"}
    warnings = io.StringIO()
    sys.path.append(str(ROOT / "_ext"))
    with patch_docutils(), docutils_namespace():
        folders = (tmp_path, None, tmp_path / "out", tmp_path / "trees")
        app = Sphinx(*folders, "dummy", settings, status=None, warning=warnings)
        app.build()
    assert warnings.getvalue() == ""
    shown = app.env.get_domain("py").objects
    # What stands in a class beside methods and properties, described by a comment, needs no list.
    assert sorted(name for name in shown if shown[name].objtype != "attribute") == sorted(wanted_in_the_reference())
    modules = map(importlib.import_module, MODULES)
    handed_on = [getattr(module, name) for module in modules for name in getattr(module, "__all__", ())]
    handed_on = [f"{thing.__module__}.{thing.__qualname__}" for thing in handed_on if hasattr(thing, "__module__")]
    assert [name for name in handed_on if name not in shown] == []


def test_rooms_without_networks_import_neither_keras_nor_a_backend():
    program = """
import sys
import imggen_lib._validation, imggen_lib.io, imggen_lib.rendering, imggen_lib.datasets, imggen_lib.convolution
import imggen_lib.noise, imggen_lib.metrics, imggen_lib.notebook.exercises, imggen_lib.datasets.marble_captions, imggen_lib.restoration
from imggen_lib.models import GaussianImageModel
import numpy as np
GaussianImageModel().fit(np.zeros((2, 2, 2, 1))).sample(1, seed=0)
print(sorted({name.split(".")[0] for name in sys.modules} & {"keras", "tensorflow", "jax", "torch"}))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_the_command_line_starts_without_a_backend_and_without_a_warning():
    program = "import sys, imggen_lib.cli; print('tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("False\n", "")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_a_room_is_no_longer_than_can_be_read_at_once(path):
    assert len(path.read_text().splitlines()) <= 400
