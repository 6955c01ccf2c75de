"""Execute the pages and build the book: ``python tools/book.py execute`` and ``python tools/book.py build``.

``execute --shard 2/4`` executes the second of four parts of the pages, for machines that share the work, and ``gather``
puts the executed pages of several machines together.

Pages are executed on copies under ``_build/executed``, so the notebooks in ``chapters`` never contain outputs; the book is
built from the copies. While a page runs, ``tools/record_reads`` records which files of the repository it reads. A page is
executed again only if its notebook, one of these files, ``requirements.lock``, the profile or the backend changes. The file
``runs.json`` beside the copies holds the recorded files of each page, and how and how long it ran.

Numbers in the text of a page are expressions, such as ``{eval}`f"{score:.1f}"```, in Markdown cells and in captions of
figures. JupyterLab evaluates them in the reader's kernel. For the book, a code cell is appended to the copy before it is
executed. It evaluates all expressions of the page in the page's kernel, after the last cell, and its output maps each of
them to its value. The values then replace the expressions in the executed copy as plain text, and the cell is removed. An
expression that fails makes this cell fail, and with it the page. The state after the last cell is the right one, because a
name that is quoted is assigned once on a page, which a test checks.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import bs4
import export_live
import nbformat
import yaml

TIMEOUT = 600
RUNS = "runs.json"
MADE_FROM = "made-from.txt"
EXPRESSION = re.compile(r"\{eval\}`([^`]+)`")
EVALUATION = "evaluation-of-the-text"


def main() -> int:
    """Run one of the commands. The exit status is 0 only without problems."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["execute", "build", "gather"])
    parser.add_argument("folders", type=Path, nargs="*", help="of gather: folders with executed pages")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="the folder of the book")
    parser.add_argument("--jobs", type=int, default=1, help="number of pages that are executed at a time")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="execute only part K of N parts of the pages")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {arguments.jobs}")
    shard = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", arguments.shard)
    if not shard or int(shard[1]) > int(shard[2]):
        parser.error(f"--shard is {arguments.shard!r}; expected K/N with K from 1 to N, such as 2/4")
    if (arguments.command == "gather") != bool(arguments.folders):
        parser.error("gather needs folders, and only gather takes them")
    root = arguments.root.resolve()
    if arguments.command == "execute":
        problems = execute(root, arguments.jobs, (int(shard[1]), int(shard[2])))
    else:
        problems = build(root) if arguments.command == "build" else gather(root, arguments.folders)
    for problem in problems:
        print(f"book: {problem}", file=sys.stderr)
    return 1 if problems else 0


def pages(root: Path) -> list[str]:
    """Return the pages of the book in the order of ``_toc.yml``, as paths without suffix."""
    contents = yaml.safe_load((root / "_toc.yml").read_text())
    found = [contents["root"]]

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            if "file" in node:
                found.append(node["file"])
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit({key: value for key, value in contents.items() if key != "root"})
    return found


def notebooks(root: Path) -> list[str]:
    """Return the pages that are notebooks, as paths relative to the root."""
    return [f"{page}.ipynb" for page in pages(root) if (root / f"{page}.ipynb").is_file()]


def execute(root: Path, jobs: int = 1, shard: tuple[int, int] = (1, 1)) -> list[str]:
    """Execute every page that is not up to date. Return the problems, one line each.

    With ``shard=(k, n)``, only every n-th page, beginning with the k-th.

    One page at a time gives comparable times; two pages at a time use two cores better and finish earlier.
    """
    executed = root / "_build" / "executed"
    executed.mkdir(parents=True, exist_ok=True)
    names, runs = notebooks(root)[shard[0] - 1 :: shard[1]], _read_runs(executed)
    stale = [name for name in stale_pages(root) if name in names]
    print(f"book: {len(stale)} of {len(names)} pages to execute", flush=True)
    started = time.time()
    reads = _execute_copies(root, executed, stale, jobs) if stale else {}
    problems = []
    content = functools.cache(_content)
    for name in stale:
        runs.pop(name, None)
        if not _ran_without_error(executed / name):
            problems.append(f"{name} failed, see above")
            continue
        key: str | None = _key(root, name, reads.get(name, []), content)
        if name not in reads:
            print(f"book: {name} ran, but the files that it read were not recorded, so the next run executes it again")
            key = None
        for changed in _changed_since(root, started, [name, *reads.get(name, [])]):
            print(f"book: {changed} changed while pages ran, so the next run executes {name} again")
            key = None
        runs[name] = {
            "key": key,
            "with": _provenance(jobs),
            "seconds": seconds(executed / name),
            "reads": reads.get(name, []),
        }
    runs = {name: runs[name] for name in names if name in runs}
    (executed / RUNS).write_text(json.dumps(runs, indent=1))
    times = [run["seconds"] for run in runs.values()]
    for name, run in runs.items():
        print(f"book: {run['seconds']:6.1f} s  {name}")
    if times:
        print(f"book: {sum(times):6.1f} s  together, {sum(times) / len(times):.1f} s on average")
    return problems


def gather(root: Path, folders: Iterable[Path]) -> list[str]:
    """Put executed pages together: those of several folders such as ``_build/executed``. Return the missing pages."""
    executed = root / "_build" / "executed"
    runs = _read_runs(executed)
    for folder in folders:
        found = _read_runs(folder)
        for name in found:
            (executed / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, executed / name)
        runs |= found
    executed.mkdir(parents=True, exist_ok=True)
    (executed / RUNS).write_text(json.dumps(runs, indent=1))
    return [f"{name} is in no folder" for name in notebooks(root) if name not in runs]


def stale_pages(root: Path) -> list[str]:
    """Return the notebooks that must be executed, because they never ran without error or something they read changed."""
    executed = root / "_build" / "executed"
    runs, content, stale = _read_runs(executed), functools.cache(_content), []
    for name in notebooks(root):
        run = runs.get(name, {})
        if not (executed / name).is_file() or run.get("key") != _key(root, name, run.get("reads", []), content):
            stale.append(name)
    return stale


def build(root: Path) -> list[str]:
    """Build the HTML from the executed pages and check it. Return the problems, one line each."""
    executed, source, html = (root / "_build" / name for name in ("executed", "source", "html"))
    made_from = _digest_of_sources(root, executed)
    if (html / MADE_FROM).is_file() and (html / MADE_FROM).read_text() == made_from:
        print(f"book: nothing changed, open {html / 'index.html'}")
        return []
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(html, ignore_errors=True)
    runs = _read_runs(executed)
    for page in pages(root):
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        if (root / f"{page}.md").is_file():
            shutil.copyfile(root / f"{page}.md", source / f"{page}.md")
        elif f"{page}.ipynb" in runs:
            notebook = nbformat.read(executed / f"{page}.ipynb", as_version=4)
            notebook.cells.append(nbformat.v4.new_markdown_cell(_footer(runs[f"{page}.ipynb"])))
            nbformat.write(notebook, source / f"{page}.ipynb")
        else:
            return [f"{page} is in _toc.yml, but the page is missing or was not executed without error"]
    for name in ("_toc.yml", "references.bib"):
        shutil.copyfile(root / name, source / name)
    (source / "_config.yml").write_text(yaml.safe_dump(configuration(root)), encoding="utf-8")
    for folder in filter(Path.is_dir, (root / "_static", root / "_ext")):
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    if (root / "_static" / "live").is_dir():
        export_live.export(source / "_static" / "live" / "weights")
    for file in _benchmark_results(root):
        (source / "benchmarks").mkdir(exist_ok=True)
        shutil.copyfile(file, source / "benchmarks" / file.name)
    # -W makes a warning an error, -n warns about every dead reference, --keep-going shows all of them.
    command = [Path(sys.executable).with_name("jupyter-book"), "build", source, "--path-output", root]
    command += ["-W", "-n", "--keep-going", "-q"]
    status = subprocess.run(list(map(str, command)), cwd=root).returncode
    for file in html.rglob("*.html"):
        repair(file)
    problems = check(root, html)
    if status:
        problems.insert(0, "jupyter-book found warnings or errors, see above")
    if not problems:
        (html / MADE_FROM).write_text(made_from)
        print(f"book: {len(pages(root))} pages, open {html / 'index.html'}")
    return problems


def repository_of(root: Path) -> str | None:
    """Return ``owner/name`` of the repository, from the environment or from ``_config.yml``; None if it is in neither."""
    if found := os.environ.get("GITHUB_REPOSITORY"):
        return found
    address = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8")).get("repository", {}).get("url") or ""
    return address.removeprefix("https://github.com/").strip("/") or None


def configuration(root: Path) -> dict[str, Any]:
    """Return the settings of the book, with buttons that lead to the repository and to Colab if its address is known.

    Colab opens the exported notebooks, which are published on the branch ``notebooks``.
    """
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    settings.pop("repository", None)
    if repository := repository_of(root):
        settings["repository"] = {"url": f"https://github.com/{repository}", "branch": "notebooks"}
        settings["launch_buttons"] = {"colab_url": "https://colab.research.google.com"}
        settings["html"] = {**settings.get("html", {}), "use_repository_button": True, "use_issues_button": True}
    return settings


def repair(file: Path) -> None:
    """Correct errors of a built page that come from other packages and that no setting of theirs avoids."""
    text = file.read_text()
    # Two extensions add the scripts of Thebe, which this book does not use; the second one declares the same names again.
    text = re.sub(
        r'<script>const THEBE_JS_URL = .*?</script>\s*<script async="async" src="[^"]*thebe[^"]*"></script>', "", text
    )
    text = re.sub(r"<script>const THEBE_JS_URL = .*?</script>", "", text)
    # Docutils gives the entries of a bibliography a role that ARIA has deprecated, and their parent the role of a list.
    text = re.sub(r' role="(doc-biblioentry|list)"', "", text)
    # All folded cells have the same label, which hides the visible text of the summary from screen readers.
    text = text.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    file.write_text(text)


def check(root: Path, html: Path) -> list[str]:
    """Return the missing pages and the dead internal links of a built book, one line each."""
    problems = []
    soups = {}
    for page in pages(root):
        file = html / f"{page}.html"
        if file.is_file():
            soups[file.resolve()] = bs4.BeautifulSoup(file.read_text(), "html.parser")
        else:
            problems.append(f"{page} is in _toc.yml, but {file.name} was not built")
    identifiers = {file: {tag["id"] for tag in soup.find_all(id=True)} for file, soup in soups.items()}
    for file, soup in soups.items():
        page = file.relative_to(html.resolve()).as_posix()
        for tag, attribute in [(tag, name) for name in ("href", "src") for tag in soup.select(f"[{name}]")]:
            link = urlsplit(str(tag[attribute]))
            if link.scheme or link.netloc:
                continue
            target = (file.parent / unquote(link.path)).resolve() if link.path else file
            if not target.exists():
                problems.append(f"{page} has a dead link to {tag[attribute]}")
            elif link.fragment and target in identifiers and unquote(link.fragment) not in identifiers[target]:
                problems.append(f"{page} has a dead link to {tag[attribute]}: the page has no such id")
    return problems


def quoted_expressions(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """Return the expressions in the text and the captions of a page, each with the id of its cell."""
    return [(cell.id, found) for cell in notebook.cells for found in EXPRESSION.findall(_text(cell))]


def append_evaluation(notebook: nbformat.NotebookNode, name: str) -> None:
    """Append the cell that evaluates all expressions of the page ``name``, if it has expressions."""
    if quoted := quoted_expressions(notebook):
        source = inspect.getsource(evaluate_expressions)
        source += f"\n\n{evaluate_expressions.__name__}({name!r}, {quoted!r}, globals())"
        notebook.cells.append(nbformat.v4.new_code_cell(source, id=EVALUATION))


def evaluate_expressions(page: str, quoted: list[tuple[str, str]], names: dict) -> None:
    """Display the values of expressions as JSON. The kernel of the page runs the source of this function."""
    from IPython.display import display

    values, problems = {}, []
    for cell, expression in quoted:
        try:
            value = eval(expression, names)
        except Exception as error:
            problems.append(f"{page}, cell {cell}: {expression} fails with {type(error).__name__}: {error}")
            continue
        # NumPy's numbers are refused, because JupyterLab shows them as np.float64(0.5).
        if type(value) not in (str, int, float):
            problems.append(f"{page}, cell {cell}: {expression} is {value!r}; expected str, int or float")
        values[expression] = str(value)
    if problems:
        raise ValueError("\n".join(problems))
    display({"application/json": values}, raw=True)


def insert_values(notebook: nbformat.NotebookNode) -> None:
    """Replace the expressions of an executed page by their values, and remove the cell that evaluated them.

    If that cell failed or did not run, the page is left as it is.
    """
    outputs = notebook.cells[-1].get("outputs", [])
    found = [output.data["application/json"] for output in outputs if "application/json" in output.get("data", {})]
    if notebook.cells[-1].id != EVALUATION or not found:
        return
    notebook.cells.pop()

    def value(match: re.Match[str]) -> str:
        text = re.sub(r"([\\`*_{}\[\]<>$|])", r"\\\1", found[0][match[1]])
        # A whole number and a point at the beginning of a line would be an item of a list.
        return f"{text}\\" if text.isdigit() and match.string.startswith((".", ")"), match.end()) else text

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = EXPRESSION.sub(value, cell.source)
        elif _text(cell):
            cell.metadata.mystnb.figure.caption = EXPRESSION.sub(value, _text(cell))


def _text(cell: nbformat.NotebookNode) -> str:
    """Return the text of a Markdown cell, or the caption of a code cell."""
    if cell.cell_type == "markdown":
        return cell.source
    return cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")


def seconds(notebook: Path) -> float:
    """Return how long the cells of an executed notebook took together, from the times that the kernel stored."""
    total = 0.0
    for cell in json.loads(notebook.read_text())["cells"]:
        times = cell["metadata"].get("execution", {})
        if "iopub.execute_input" in times and "shell.execute_reply" in times:
            begin, end = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
            total += (end - begin).total_seconds()
    return total


def _key(root: Path, name: str, reads: Iterable[str], content: Any) -> str:
    """Return a digest of all inputs of a page: settings, packages, the notebook and the files that it reads."""
    digest = hashlib.sha256()
    for variable in ("IMGGEN_PROFILE", "KERAS_BACKEND"):
        digest.update(os.environ.get(variable, "").encode() + b"\0")
    for path in [name, "requirements.lock", *reads]:
        digest.update(path.encode() + b"\0" + content(root / path))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    """Return a digest of a file, of the names in a folder, or of a path that does not exist."""
    if path.is_dir():
        generated = ("__pycache__", "_build")
        names = sorted(item.name for item in path.iterdir() if item.name[0] != "." and item.name not in generated)
        content = b"folder" + "\0".join(names).encode()
    else:
        content = b"file" + path.read_bytes() if path.is_file() else b"missing"
    return hashlib.sha256(content).digest()


def _changed_since(root: Path, moment: float, names: Iterable[str]) -> list[str]:
    """Return the files that were written after a moment."""
    return [name for name in names if (root / name).is_file() and (root / name).stat().st_mtime > moment]


def _benchmark_results(root: Path) -> list[Path]:
    """Return the tables and plots of the benchmarks, which pages may include."""
    return [file for pattern in ("*.md", "*.png") for file in sorted((root / "benchmarks").glob(pattern))]


def _digest_of_sources(root: Path, executed: Path) -> str:
    """Return a digest of everything that the HTML is built from."""
    digest = hashlib.sha256()
    digest.update((repository_of(root) or "").encode() + b"\0")
    files = [Path(__file__), *(root / name for name in ("_config.yml", "_toc.yml", "references.bib", "requirements.lock"))]
    files += [root / f"{page}.md" for page in pages(root)] + sorted((root / "_static").rglob("*")) + [executed / RUNS]
    files += [*(file for file in sorted((root / "_ext").rglob("*")) if file.suffix != ".pyc"), *_benchmark_results(root)]
    # The pages about the library are made from its docstrings, and the scripts of live figures from the shipped weights.
    files += [*sorted((root / "imggen_lib").rglob("*.py")), *sorted((root / "data" / "weights").glob("*.json"))]
    files.append(Path(export_live.__file__))
    for file in filter(Path.is_file, files):
        digest.update(os.path.relpath(file, root).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _execute_copies(root: Path, executed: Path, names: list[str], jobs: int) -> dict[str, list[str]]:
    """Run nbmake on copies of the named pages, and keep all copies with their outputs, also of pages that failed.

    Return the files and folders of the repository that each page read, by the name of the page.
    """
    # The copies are in a temporary folder at first, because nbmake skips folders called _build.
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / name for name in names]
        for name, copy in zip(names, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            notebook = nbformat.read(root / name, as_version=4)
            append_evaluation(notebook, name)
            nbformat.write(notebook, copy)
        # An empty settings file, because the settings of the project are for its tests.
        settings = Path(folder) / "pytest.ini"
        settings.write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", settings, "--rootdir", folder]
        command += ["--nbmake", "--overwrite", f"--nbmake-timeout={TIMEOUT}", "--verbose", *copies]
        if jobs > 1:
            command += ["-n", jobs, "--dist", "worksteal"]
        search_path = [str(Path(__file__).resolve().parent / "record_reads"), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, search_path)),
            "BOOK_ROOT": str(root),
            "BOOK_READS": folder,
        }
        subprocess.run(list(map(str, command)), cwd=root, env=environment)
        reads: dict[str, list[str]] = {}
        for name, copy in zip(names, copies, strict=True):
            (executed / name).parent.mkdir(parents=True, exist_ok=True)
            notebook = nbformat.read(copy, as_version=4)
            insert_values(notebook)
            nbformat.write(notebook, executed / name)
            log = copy.with_name(f"{copy.name}.reads")
            if log.is_file():
                reads[name] = sorted(set(log.read_text().splitlines()))
        return reads


def _ran_without_error(notebook: Path) -> bool:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code" and cell["source"]]
    ran = all(cell["execution_count"] for cell in cells)
    return ran and not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])


def _read_runs(executed: Path) -> dict[str, dict[str, Any]]:
    file = executed / RUNS
    return json.loads(file.read_text()) if file.is_file() else {}


def _footer(run: dict[str, Any]) -> str:
    """Return the line at the end of a page that says how its outputs were computed."""
    return f'<p class="provenance">This page ran in {run["seconds"]:.0f} seconds: {run["with"]}.</p>'


def _provenance(jobs: int) -> str:
    """Describe the machine, the packages and the settings that a page was executed with."""
    versions = {name: importlib.metadata.version(name) for name in ("keras", "numpy", "scikit-image")}
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    parallel = f", {jobs} pages at a time" if jobs > 1 else ""
    return (
        f"{os.environ.get('IMGGEN_PROFILE', 'quick')} profile, {os.cpu_count()} cores, {_gpus()}, "
        f"Python {platform.python_version()}, Keras {versions['keras']} on {backend} "
        f"{importlib.metadata.version(backend)}, NumPy {versions['numpy']}, scikit-image {versions['scikit-image']}, "
        f"on {time.strftime('%Y-%m-%d')}{parallel}"
    )


def _gpus() -> str:
    """Return the names of the GPUs, as ``nvidia-smi`` lists them."""
    if not shutil.which("nvidia-smi"):
        return "no GPU"
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True).stdout.splitlines()
    return ", ".join(found) or "no GPU"


if __name__ == "__main__":
    sys.exit(main())
