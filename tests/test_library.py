"""Properties of the whole library: directions of imports, docstrings, and the reference pages made from them."""

import ast
import dataclasses
import importlib
import inspect
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from imggen_lib import datasets

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "imggen_lib"
sys.path.append(str(ROOT / "_ext"))

import imggen_book  # noqa: E402

MODULES = imggen_book.public_modules()

# Modules and packages may import those of earlier layers, but not each other within a layer. No module imports the tools of
# the pages, and the tools of the pages do not import the command line.
LAYERS = [
    ["_runtime", "_validation"],
    ["convolution", "descriptors", "io", "metrics", "noise", "rendering"],
    ["datasets"],
    ["backend"],
    ["models"],
    ["recipes", "restoration"],
    ["pretrained"],
    ["evaluation"],
    ["training"],
    ["cli", "notebook"],
]
# The modules before this one use NumPy and never load Keras.
FIRST_WITH_KERAS = "backend"


def imports(path):
    """Return the modules and packages of the library that a file imports, except in ``if TYPE_CHECKING`` blocks."""
    found, queue = set(), [ast.parse(path.read_text())]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "imggen_lib":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imggen_lib."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("imggen_lib.")}
        queue += ast.iter_child_nodes(node)
    # The package itself offers one function of a private module.
    return {"_runtime" if name == "configure_process" else name for name in found}


def files(name):
    """Return the files of a module or package."""
    return [path for path in (PACKAGE / f"{name}.py",) if path.is_file()] or sorted((PACKAGE / name).rglob("*.py"))


def test_the_layers_contain_every_module_and_package_once():
    on_disk = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert sorted(name for layer in LAYERS for name in layer) == sorted(on_disk - {"__init__", "__main__", "data"})


@pytest.mark.parametrize(("index", "name"), [(index, name) for index, layer in enumerate(LAYERS) for name in layer])
def test_modules_import_only_from_earlier_layers(index, name):
    earlier = {other for layer in LAYERS[:index] for other in layer}
    found = {path.relative_to(PACKAGE).as_posix(): imports(path) - earlier - {name} for path in files(name)}
    assert {path: forbidden for path, forbidden in found.items() if forbidden} == {}


def test_numpy_modules_load_neither_keras_nor_a_backend():
    before = LAYERS[: next(index for index, layer in enumerate(LAYERS) if FIRST_WITH_KERAS in layer)]
    names = [name for name in MODULES if name.split(".")[1] in {name for layer in before for name in layer}]
    assert {"imggen_lib.noise", "imggen_lib.datasets.marble_captions"} <= set(names)
    # Tools that pages of the NumPy chapters use.
    names += [f"imggen_lib.notebook.{name}" for name in ("animation", "exercises", "figures", "profile", "widgets")]
    program = f"""
import importlib, sys
for name in {["imggen_lib._validation", "imggen_lib._runtime", *names]}:
    importlib.import_module(name)
print(sorted({{name.split(".")[0] for name in sys.modules}} & {{"keras", "tensorflow", "jax", "torch"}}))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_the_command_line_starts_without_a_backend_and_without_a_warning():
    program = "import sys, imggen_lib.cli; print('tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("False\n", "")


def defined(module):
    """Return the public names that a module defines itself, with their values: those in ``__all__``."""
    assigned = re.findall(r"^([A-Za-z]\w*)(?:: [^=\n]+)? =", inspect.getsource(module), re.MULTILINE)
    values = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {
        name: value
        for name, value in values.items()
        if not inspect.ismodule(value) and (getattr(value, "__module__", None) == module.__name__ or name in assigned)
    }


def members(cls):
    """Return the public methods and properties that a class defines itself."""
    for name, value in vars(cls).items():
        value = getattr(value, "__func__", value)
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            yield name, value


# Methods by which Keras saves, builds and updates, and which it calls during training: Keras documents them.
HOOKS = re.compile("build|compile_from_config|from_config|get_config|update_step|on_.*")
# Base classes, callbacks and results: the examples are those of the classes and functions that use them.
WITHOUT_EXAMPLE = {
    "DegradationOperator",
    "Evaluation",
    "GenerativeModel",
    "Invertible",
    "ProgressBar",
    "Run",
    "StopOnSignal",
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_with_public_functions_or_classes_lists_them_in_all(name):
    module = importlib.import_module(name)
    items = [(key, value) for key, value in vars(module).items() if inspect.isclass(value) or inspect.isroutine(value)]
    public = [key for key, value in items if key[0] != "_" and value.__module__ == name]
    assert hasattr(module, "__all__") or public == []


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring_and_functions_and_classes_have_an_example(name):
    module = importlib.import_module(name)
    assert inspect.getdoc(module)
    lacking = []
    for key, value in defined(module).items():
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        documentation = value.__doc__ or ""
        exempt = key in WITHOUT_EXAMPLE or (inspect.isclass(value) and issubclass(value, Exception))
        if not documentation or (">>>" not in documentation and not exempt):
            lacking.append(key)
        if inspect.isclass(value):
            lacking += [f"{key}.{part}" for part, one in members(value) if not one.__doc__ and not part.startswith("on_")]
    assert lacking == []


def reference_pages():
    """Return the pages about the library, the overview first."""
    chapters = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"][-1]["chapters"]
    return [ROOT / f"{chapter['file']}.md" for chapter in chapters if "/api" in chapter["file"]]


def test_every_module_is_on_one_page_about_the_library():
    overview, *pages = reference_pages()
    assert {overview, *pages} == set((ROOT / "chapters" / "outlook").glob("api*.md"))
    text = "\n".join(page.read_text() for page in pages)
    shown = []
    for packages, without in re.findall(r"\{library\} (.*)\n(?::without: (.*))?", text):
        inside = [name for name in MODULES if imggen_book.is_in(name, packages.split())]
        shown += [name for name in inside if not imggen_book.is_in(name, without.split())]
    assert sorted(shown) == MODULES
    linked = re.findall(r"^\| \{doc\}`(\w+)`", overview.read_text(), re.MULTILINE)
    assert linked == [page.stem for page in pages]


def names_in_the_reference():
    yield "imggen_lib.configure_process"
    for name in MODULES:
        yield name
        for key, value in defined(importlib.import_module(name)).items():
            yield f"{name}.{key}"
            if inspect.isclass(value):
                yield from (f"{name}.{key}.{part}" for part, _ in members(value) if not HOOKS.fullmatch(part))


def test_the_pages_about_the_library_contain_every_public_name_and_no_other(tmp_path):
    for page in reference_pages():
        (tmp_path / page.name).write_text(f"---\norphan: true\n---\n{page.read_text()}")
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    settings = {name: value for name, value in settings.items() if name.startswith(("autodoc", "napoleon", "nitpick"))}
    settings["extensions"] = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser", "imggen_book"]
    settings |= {"nitpicky": True, "root_doc": "api", "toc_object_entries": False}
    warnings = io.StringIO()
    with patch_docutils(), docutils_namespace():
        folders = (tmp_path, None, tmp_path / "out", tmp_path / "trees")
        app = Sphinx(*folders, "dummy", settings, status=None, warning=warnings)
        app.build()
    assert warnings.getvalue() == ""
    shown = app.env.get_domain("py").objects
    # Attributes of classes that a comment describes are shown as well.
    assert sorted(name for name in shown if shown[name].objtype != "attribute") == sorted(names_in_the_reference())
    # Each module has a section of its own, nested as the packages are.
    _, *headings = [reference.astext() for reference in app.env.tocs["api_notebook"].findall(nodes.reference)]
    assert headings == [name.removeprefix("imggen_lib.") for name in MODULES if name.startswith("imggen_lib.notebook")]


def test_figures_are_numbered_from_one_on_each_page(tmp_path):
    for page in ("index", "other"):
        figures = "".join(
            f"```{{figure}} x.png\n:name: {page}-{k}\nText.\n```\n\n{{numref}}`{page}-{k}`\n\n" for k in (1, 2)
        )
        (tmp_path / f"{page}.md").write_text(f"# {page}\n\n{figures}\n```{{toctree}}\n:glob:\noth*\n```\n")
    settings = {
        "extensions": ["sphinx.ext.autodoc", "myst_parser", "imggen_book"],
        "numfig": True,
        "suppress_warnings": ["image", "toc"],
    }
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            tmp_path, None, tmp_path / "out", tmp_path / "trees", "dummy", settings, status=None, warning=io.StringIO()
        )
        app.build()
    for page in ("index", "other"):
        references = list(app.env.get_and_resolve_doctree(page, app.builder).findall(nodes.reference))
        assert [text for link in references if (text := link.astext()).startswith("Fig.")] == ["Fig. 1", "Fig. 2"]


def test_a_section_of_the_reference_begins_with_a_table_of_its_functions_and_classes():
    lines = imggen_book.table_of_names("imggen_lib.noise")
    assert [line.strip() for line in lines if ":py:obj:" in line] == [
        f"* - :py:obj:`~imggen_lib.noise.{name}`" for name in importlib.import_module("imggen_lib.noise").__all__
    ]
    assert "     - Add Gaussian noise." in lines
    assert imggen_book.table_of_names("imggen_lib.cli") == []


def test_the_quickstart_runs(monkeypatch, capsys):
    full = datasets.load("fashion_mnist")
    small = dataclasses.replace(full, x_train=full.x_train[:128], y_train=full.y_train[:128], x_test=full.x_test[:128])
    monkeypatch.setattr(datasets, "load", lambda name: small)
    (code,) = re.findall(r"```python\n(.*?)```", reference_pages()[0].read_text(), re.DOTALL)
    exec(code.replace("epochs=6", "epochs=1").replace("1000", "100"), {})
    assert capsys.readouterr().out.count("Fréchet distance") == 2
