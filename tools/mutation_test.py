"""Change one character of the library at a time and report the changes that no test notices.

Usage: ``python tools/mutation_test.py --number 60 --seed 0``.
A mutation replaces one digit or one operator by another, at a position drawn from a seed, in a copy of the repository.
Docstrings, comments, annotations and strings are left alone. The tests of the changed module run on the copy; if they pass,
the mutation survived, and either a test is missing or the change is equivalent.
"""

from __future__ import annotations

import argparse
import ast
import io
import random
import shutil
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Each module with the tests that must notice a change in it. Its doctests run too.
TESTS = {
    "convolution.py": ["test_convolution.py"],
    "noise.py": ["test_noise.py"],
    "metrics.py": ["test_metrics.py"],
    "rendering/curves.py": ["test_rendering.py"],
    "rendering/shading.py": ["test_rendering.py"],
    "rendering/procedural.py": ["test_rendering.py"],
    "rendering/marbles.py": ["test_rendering.py"],
    "models/gan/losses.py": ["test_gan_losses.py"],
    "models/ema.py": ["test_ema.py"],
    "models/vae.py": ["test_vae.py"],
    "models/diffusion/schedule.py": ["test_schedule.py", "test_diffusion.py"],
    "models/autoregressive/logistic_mixture.py": ["test_autoregressive.py"],
    "models/flow/dequantization.py": ["test_flow.py"],
}
REPLACEMENTS = {"+": "-", "-": "+", "*": "/", "/": "*", "<": ">", ">": "<", "%": "*", "|": "&", "&": "|"}


def main() -> int:
    """Run the mutations and print the survivors. The exit status is 0 if at least 80 % were caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=60, help="how many mutations (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the positions (default: 0)")
    arguments = parser.parse_args()
    candidates = [(module, *change) for module in TESTS for change in changes(ROOT / "imggen_lib" / module)]
    chosen = random.Random(arguments.seed).sample(candidates, arguments.number)
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("imggen_lib", "tests"):
            shutil.copytree(ROOT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "pyproject.toml", Path(folder) / "pyproject.toml")
        for count, (module, line, column, character) in enumerate(chosen, 1):
            path = Path(folder) / "imggen_lib" / module
            original = path.read_text()
            lines = original.splitlines(keepends=True)
            before = lines[line - 1]
            lines[line - 1] = before[:column] + character + before[column + 1 :]
            path.write_text("".join(lines))
            caught = subprocess.run(command(module), cwd=folder, capture_output=True).returncode != 0
            path.write_text(original)
            report = f"{module}:{line}: {before.strip()} -> {lines[line - 1].strip()}"
            print(f"{count:3} {'caught  ' if caught else 'SURVIVED'} {report}", flush=True)
            survivors += [] if caught else [report]
    share = 1 - len(survivors) / len(chosen)
    print(f"{share:.0%} of {len(chosen)} mutations caught, of {len(candidates)} possible; {len(survivors)} survived")
    return int(share < 0.8)


def command(module: str) -> list[str]:
    """Return the command that runs the tests of a module in the copy."""
    tests = [f"tests/{name}" for name in TESTS[module]]
    return [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"imggen_lib/{module}", *tests]


def changes(path: Path) -> list[tuple[int, int, str]]:
    """Return every mutation of a file as (line, column, new character) that still compiles."""
    source = path.read_text()
    ignored = annotation_places(ast.parse(source))
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line, column = token.start
        if (line, column) in ignored:
            continue
        if token.type == tokenize.NUMBER:
            found += [
                (line, column + offset, str((int(digit) + 1) % 10))
                for offset, digit in enumerate(token.string)
                if digit.isdigit()
            ]
        elif token.type == tokenize.OP and token.string in REPLACEMENTS:
            found.append((line, column, REPLACEMENTS[token.string]))
    return [change for change in found if compiles(source, *change)]


def annotation_places(tree: ast.AST) -> set[tuple[int, int]]:
    """Return the places of operators and numbers in annotations, which have no effect at run time."""
    places: set[tuple[int, int]] = set()
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if part is not None:
                for line in range(part.lineno, part.end_lineno + 1):
                    first = part.col_offset if line == part.lineno else 0
                    last = part.end_col_offset if line == part.end_lineno else 200
                    places |= {(line, column) for column in range(first, last)}
    return places


def compiles(source: str, line: int, column: int, character: str) -> bool:
    """Return whether the source is still valid, and different, with one character replaced."""
    lines = source.splitlines(keepends=True)
    lines[line - 1] = lines[line - 1][:column] + character + lines[line - 1][column + 1 :]
    try:
        changed = ast.parse("".join(lines))
    except SyntaxError:
        return False
    return ast.dump(changed) != ast.dump(ast.parse(source))


if __name__ == "__main__":
    sys.exit(main())
