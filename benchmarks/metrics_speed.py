"""Speed of the library's metrics and of torch-fidelity's and prdc's, on the same features. Takes minutes.

The other libraries are not in this project's environment. Install them into another one, and use this library from there:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install torch-fidelity prdc
    PYTHONPATH=. /tmp/peers/bin/python benchmarks/metrics_speed.py

A library that is not installed is left out. All run on one core, because waiting threads use processor time too. See
``speed.py`` for how time is measured. Writes ``metrics_speed.md``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import io
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# NumPy and PyTorch read these when they are imported.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import speed

from imggen_lib import metrics

TABLE = Path(__file__).with_suffix(".md")
REPEATS = 9
PEERS = ("torch-fidelity", "prdc")


Comparison = tuple[str, str, Callable[..., Any], Sequence[Any], Callable[..., Any], Sequence[Any]]


def comparisons() -> Iterator[Comparison]:
    """Yield the name of a measure, the other library, and function and arguments of this library and of the other.

    Features are in single precision, as networks compute them; torch-fidelity takes them as tensors.
    """
    rng = np.random.default_rng(0)

    def two_sets(n: int, d: int) -> tuple[Any, Any]:
        return rng.normal(size=(n, d)).astype("float32"), (1.1 * rng.normal(size=(n, d))).astype("float32")

    if importlib.util.find_spec("torch_fidelity"):
        import torch
        from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

        def their_frechet_distance(*sets: Any) -> Any:
            return metric_fid.fid_statistics_to_metric(*map(metric_fid.fid_features_to_statistics, sets), False)

        for n, d in ((10_000, 64), (10_000, 512)):
            sets = two_sets(n, d)
            tensors = [torch.from_numpy(x) for x in sets]
            name = f"Fréchet distance, {n:,} + {n:,} rows of {d}"
            yield name, "torch-fidelity", metrics.frechet_distance, sets, their_frechet_distance, tensors

        sets = two_sets(10_000, 64)
        tensors = [torch.from_numpy(x) for x in sets]

        def their_kernel_distance(*sets: Any) -> Any:
            return metric_kid.kid_features_to_metric(*sets, kid_subsets=100, kid_subset_size=1000, verbose=False)

        def on_subsets(*sets: Any) -> Any:
            return metrics.kernel_distance(*sets, subset_size=1000, subsets=100, rng=0)

        name = "kernel distance, 10,000 + 10,000 rows of 64,"
        yield f"{name} 100 subsets of 1,000", "torch-fidelity", on_subsets, sets, their_kernel_distance, tensors
        yield (
            f"{name} this library over all pairs",
            "torch-fidelity",
            metrics.kernel_distance,
            sets,
            their_kernel_distance,
            tensors,
        )

        logits = rng.normal(size=(50_000, 10)).astype("float32")

        def from_logits(logits: Any) -> Any:
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            return metrics.inception_score(weights / weights.sum(axis=1, keepdims=True))

        name, theirs = "Inception Score, 50,000 rows of 10, from logits", metric_isc.isc_features_to_metric
        yield name, "torch-fidelity", from_logits, [logits], theirs, [torch.from_numpy(logits)]

    for n in (1_000, 5_000):
        sets = two_sets(n, 64)
        if importlib.util.find_spec("torch_fidelity"):
            tensors = [torch.from_numpy(x) for x in sets]

            def their_precision_recall(*sets: Any) -> Any:
                return metric_prc.prc_features_to_metric(*sets, verbose=False)

            name = f"precision and recall, {n:,} + {n:,} rows of 64"
            yield name, "torch-fidelity", metrics.precision_recall, sets, their_precision_recall, tensors
        if importlib.util.find_spec("prdc"):
            import prdc

            def all_four(*sets: Any) -> Any:
                return metrics.precision_recall(*sets, neighbours=5), metrics.density_coverage(*sets, neighbours=5)

            def their_four(*sets: Any) -> Any:
                with contextlib.redirect_stdout(io.StringIO()):
                    return prdc.compute_prdc(*sets, nearest_k=5)

            name = f"precision, recall, density and coverage, {n:,} + {n:,} rows of 64"
            yield name, "prdc", all_four, sets, their_four, sets


def main() -> None:
    """Measure every function for which another library is installed, then write the table."""
    found = [peer for peer in PEERS if importlib.util.find_spec(peer.replace("-", "_"))]
    if not found:
        raise SystemExit(f"neither {' nor '.join(PEERS)} is installed: see the first lines of {Path(__file__).name}")
    versions = [
        f"{package} {importlib.metadata.version(package)}"
        for package in ("numpy", "torch", "scikit-learn", *found)
        if importlib.util.find_spec({"scikit-learn": "sklearn"}.get(package, package.replace("-", "_")))
    ]
    lines = [
        f"Metrics of two sets of random features. Median processor time of {REPEATS} calls each, made in turn on one",
        "core. The ratio is this library's time over the other's: median and, in brackets, interquartile range of",
        f"{REPEATS} ratios; below 1 this library is faster. {platform.machine()}, {os.cpu_count()} cores (one is used),",
        f"Python {platform.python_version()}, {', '.join(versions)}.",
        "",
        "| metric | other library | this library, ms | other, ms | ratio | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for name, peer, ours, our_sets, theirs, their_sets in comparisons():
        functions = functools.partial(ours, *our_sets), functools.partial(theirs, *their_sets)
        seconds = speed.in_turn(functions, REPEATS).T
        milliseconds = " | ".join(f"{1000 * time:,.0f}" for time in np.median(seconds, axis=1))
        lines.append(f"| {name} | {peer} | {milliseconds} | {speed.ratio(*seconds)} | {speed.verdict(*seconds)} |")
        print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
