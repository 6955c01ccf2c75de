"""What must agree across the project: versions, requirements, licences, the address, and what a wheel carries."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import imggen_lib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The names that differ between the Python package index and conda-forge.
CONDA_NAMES = {"matplotlib-base": "matplotlib"}
# Not needed to read or run the book: tools of those who change it, and backends.
NOT_FOR_CONDA = {
    "axe-playwright-python",
    "codespell",
    "nbstripout",
    "playwright",
    "pre-commit",
    "pytest-xdist",
    "ruff",
}


def bounds(lines):
    requirements = [Requirement(line) for line in lines]
    return {CONDA_NAMES.get(item.name, item.name): str(item.specifier) for item in requirements}


def test_the_version_is_told_once():
    assert imggen_lib.__version__ == PROJECT["version"]


def test_environment_yml_asks_for_what_pyproject_asks_for():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    plain = [line for line in listed if isinstance(line, str) and not line.startswith(("python>", "pip"))]
    by_pip = next(line["pip"] for line in listed if isinstance(line, dict))
    assert by_pip[-1] == "--editable ."
    extras = PROJECT["optional-dependencies"]
    expected = bounds([*PROJECT["dependencies"], *extras["book"], *extras["test"]])
    expected = {name: bound for name, bound in expected.items() if name not in NOT_FOR_CONDA}
    assert bounds(plain + by_pip[:-1]) == expected


def test_requirements_have_lower_bounds_and_no_upper_ones_but_for_jupyter_book():
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    for line in lines:
        operators = {clause.operator for clause in Requirement(line).specifier}
        assert operators == ({">=", "<"} if line.startswith("jupyter-book") else {">="}), line


def test_the_lock_pins_every_requirement_and_names_no_index():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|--|@ ", lock)
    pinned = {Requirement(line).name for line in lock.splitlines()}
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["book"], *extras["test"], *extras["jax"]]
    assert {Requirement(line).name for line in wanted} <= pinned


def test_every_data_file_has_a_record_with_origin_and_checksum():
    for file in (ROOT / "data").rglob("*.npz"):
        record = json.loads(file.with_suffix(".json").read_text())
        assert len(record["sha256"]) == 64
        assert file.stat().st_size < 6_000_000
    assert "Zalando" in (ROOT / "data" / "LICENSES" / "fashion-mnist.txt").read_text()


def test_the_readme_names_only_targets_that_the_makefile_has():
    rules = re.findall(r"^([a-z][a-z -]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    for document in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        assert set(re.findall(r"(?:`|^ *)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)) <= targets, document


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    # Of a copy: what earlier builds left in the checkout would be packed with the rest.
    for name in ("imggen_lib", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_a_wheel_carries_data_and_licences_and_works_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    for file in (ROOT / "data").rglob("*.npz"):
        assert f"imggen_lib/data/{file.relative_to(ROOT / 'data').as_posix()}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    code = (
        "import imggen_lib; from imggen_lib import catalog, datasets;"
        f"assert imggen_lib.__file__.startswith({str(tmp_path)!r}), imggen_lib.__file__;"
        "assert datasets.load('fashion_mnist').x_train.shape == (10000, 28, 28, 1);"
        "assert pretrained.record('gan')['model'] == 'gan'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_quotes_the_benchmark_as_it_was_measured():
    readme, table = ((ROOT / name).read_text() for name in ("README.md", "benchmarks/gan_time_to_quality.md"))
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    assert [row for row in rows if row not in readme] == []
