"""The project's files agree: versions, requirements, imports, licences, documents, and the contents of a wheel."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement

import imggen_lib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Names that differ between the Python package index and conda-forge.
CONDA_NAMES = {"matplotlib-base": "matplotlib"}
# Tools of contributors, which the conda environment does not need.
NOT_FOR_CONDA = {
    "axe-playwright-python",
    "codespell",
    "mypy",
    "nbstripout",
    "playwright",
    "pre-commit",
    "pytest-xdist",
    "ruff",
}
# The packages of modules whose name differs from it.
PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "pywt": "pywavelets",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
# Backends that Keras uses if they are installed, and packages that a required package always installs.
NOT_LISTED = {"jax", "torch", "IPython", "ml_dtypes"}


def requirements(*extras):
    """Requirements of the library and of extras, without the references of one extra to another."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return [item for item in map(Requirement, lines) if item.name != PROJECT["name"]]


def bounds(items):
    return {CONDA_NAMES.get(item.name, item.name): str(item.specifier) for item in items}


def imported_packages(source):
    """The third-party packages that a source imports, by their names on the index."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module.split(".")[0])
    modules -= {*sys.stdlib_module_names, *NOT_LISTED, "imggen_lib"}
    return {PACKAGES.get(module, module) for module in modules}


def code_of_page(path):
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join(re.sub(r"^(\s*)%.*", r"\1pass", line) for line in lines)


def test_version_and_date_agree_in_library_citation_and_changelog():
    assert "version" in PROJECT["dynamic"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == imggen_lib.__version__
    newest = re.search(r"^## \[(.+)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest.groups() == (imggen_lib.__version__, str(citation["date-released"]))


def test_library_outside_notebook_imports_only_required_packages():
    required = {item.name for item in requirements()}
    notebook = ROOT / "imggen_lib" / "notebook"
    files = [file for file in (ROOT / "imggen_lib").rglob("*.py") if notebook not in file.parents]
    missing = {file.name: imported_packages(file.read_text(encoding="utf-8")) - required for file in files}
    assert {name: packages for name, packages in missing.items() if packages} == {}


def test_every_required_package_is_imported_by_the_library():
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "imggen_lib").rglob("*.py")]
    assert {item.name for item in requirements()} <= set().union(*map(imported_packages, sources))


def test_notebook_package_and_pages_import_only_required_packages_and_the_extra_pages():
    allowed = {item.name for item in requirements("pages")}
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "imggen_lib" / "notebook").rglob("*.py")]
    sources += [code_of_page(page) for page in (ROOT / "chapters").rglob("*.ipynb")]
    used = set().union(*map(imported_packages, sources))
    assert used - allowed == set()
    # scikit-image imports PyWavelets when one of these functions is called.
    if any(re.search("denoise_wavelet|estimate_sigma", source) for source in sources):
        used.add("pywavelets")
    assert {Requirement(line).name for line in EXTRAS["pages"]} <= used


def test_extra_book_includes_the_extra_pages():
    assert f"{PROJECT['name']}[pages]" in EXTRAS["book"]


def test_environment_yml_has_the_requirements_of_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    plain = [line for line in listed if isinstance(line, str) and not line.startswith(("python>", "pip"))]
    by_pip = next(line["pip"] for line in listed if isinstance(line, dict))
    assert by_pip[-1] == "--editable ."
    expected = bounds(requirements("pages", "book", "test"))
    expected = {name: bound for name, bound in expected.items() if name not in NOT_FOR_CONDA}
    assert bounds(map(Requirement, plain + by_pip[:-1])) == expected


def test_requirements_have_lower_bounds_and_only_jupyter_book_an_upper_one():
    for item in requirements(*EXTRAS):
        operators = {clause.operator for clause in item.specifier}
        assert operators == ({">=", "<"} if item.name == "jupyter-book" else {">="}), item


def test_lock_pins_every_requirement_and_names_no_index():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|--|@ ", lock)
    pinned = {Requirement(line).name for line in lock.splitlines()}
    assert {item.name for item in requirements("pages", "book", "test", "jax")} <= pinned


def test_every_data_file_has_a_record_with_checksum_and_a_limited_size():
    for file in (ROOT / "data").rglob("*.npz"):
        record = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        assert len(record["sha256"]) == 64
        assert file.stat().st_size <= 8_000_000
    assert "Zalando" in (ROOT / "data" / "LICENSES" / "fashion-mnist.txt").read_text(encoding="utf-8")


def test_documents_name_only_targets_of_the_makefile():
    rules = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    for document in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        text = (ROOT / document).read_text(encoding="utf-8")
        assert set(re.findall(r"(?:`|^ *)make ([a-z-]+)", text, re.MULTILINE)) <= targets, document


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_between_files_lead_to_files(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", text)
    local = [link or source for link, source in links if "://" not in (link or source)]
    assert [link for link in local if not (ROOT / link).is_file()] == []


def test_commands_in_the_readme_are_accepted_by_the_command_line():
    from imggen_lib import cli

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:`\w+=\w+ )?imggen (.*?)(?:`.*| +#.*)?$", text, re.MULTILINE)
    assert len(commands) > 7
    for command in commands:
        cli._parser().parse_args(re.sub(r'"[^"]*"', "TEXT", command).split())


def test_readme_has_the_rows_of_the_benchmark():
    files = (ROOT / "README.md", ROOT / "benchmarks" / "gan_time_to_quality.md")
    readme, table = (file.read_text(encoding="utf-8") for file in files)
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    assert [row for row in rows if row not in readme] == []


def test_readme_links_every_page_except_parts_of_the_reference():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    pages = {chapter["file"] for part in parts for chapter in part["chapters"] if "/api_" not in chapter["file"]}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert pages - set(re.findall(r"\]\((chapters/[^).]+)\.(?:ipynb|md)\)", readme)) == set()


def test_readme_states_the_distances_in_the_records_of_the_shipped_models():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names, _, values = re.search(r"^(\| `gan` .*)\n(.*)\n(.*)", readme, re.MULTILINE).groups()
    stated = dict(zip(re.findall(r"`(\w+)`", names), map(float, values.strip("| ").split("|")), strict=True))
    records = ((path.stem, json.loads(path.read_text())["quality"]) for path in (ROOT / "data" / "weights").glob("*.json"))
    pattern = r"Fréchet distance ([\d.]+) at n = 5,000.* test images of fashion_mnist_full"
    measured = {name: re.match(pattern, quality) for name, quality in records}
    assert stated == {name: float(f"{float(match[1]):.3g}") for name, match in measured.items() if match}


@pytest.fixture(scope="module")
def example_family():
    """The modules of the model family that CONTRIBUTING.md shows as complete: the model and its recipe."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M | re.S)
    modules = [types.ModuleType(f"example_{index}") for index in range(len(blocks))]
    for module, block in zip(modules, blocks, strict=True):
        exec(compile(block, "CONTRIBUTING.md", "exec"), module.__dict__)
    return modules


def test_example_family_of_the_guide_learns_mean_and_deviation(example_family):
    model_module, recipe_module = example_family
    (recipe,) = recipe_module.RECIPES
    images = np.random.default_rng(0).normal(0.5, 0.1, (512, 4, 4, 1)).clip(0, 1).astype("float32")
    keras.utils.set_random_seed(0)
    model = model_module.PixelwiseGaussian((4, 4, 1))
    model.compile(optimizer=recipe.optimizer())
    model.fit(images, batch_size=recipe.batch_size, epochs=40, verbose=0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model.mean), images.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(keras.ops.exp(model.log_std)), images.std(axis=0), rtol=0.1)


def test_example_family_of_the_guide_is_saved_and_loaded(example_family, tmp_path):
    model = example_family[0].PixelwiseGaussian((4, 4, 1))
    model.mean.assign(np.full((4, 4, 1), 0.5))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(3, seed=0), model.sample(3, seed=0))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    # From a copy, because earlier builds leave files in the checkout that would be packed too.
    for name in ("imggen_lib", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_has_version_packages_types_data_and_licences(wheel):
    assert wheel.name.startswith(f"imggen_lib-{imggen_lib.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = [file.relative_to(ROOT).as_posix() for file in (ROOT / "imggen_lib").rglob("*.py")]
    data = [f"imggen_lib/{file.relative_to(ROOT).as_posix()}" for file in (ROOT / "data").rglob("*.npz")]
    assert {*sources, *data, "imggen_lib/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_works_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import imggen_lib; from imggen_lib import datasets, pretrained;"
        f"assert imggen_lib.__file__.startswith({str(tmp_path)!r}), imggen_lib.__file__;"
        "assert datasets.load('fashion_mnist').x_train.shape == (10000, 28, 28, 1);"
        "assert pretrained.record('gan')['model'] == 'gan'"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
