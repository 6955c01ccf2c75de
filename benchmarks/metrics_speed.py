"""Our measures against torch-fidelity's and prdc's, on the same features: ``python benchmarks/metrics_speed.py``, minutes.

The peers are no part of this project's environment. In one of their own, with this library beside them:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install torch-fidelity prdc
    PYTHONPATH=. /tmp/peers/bin/python benchmarks/metrics_speed.py

A peer that is not installed is left out. All run on one core, since threads that wait for each other spend time too. What
is timed, and how, stands in ``speed.py``. Written to ``metrics_speed.md``.
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import io
import os
import platform
from pathlib import Path

# NumPy and PyTorch read these when they are imported.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import speed

from imggen_lib import metrics

TABLE = Path(__file__).with_suffix(".md")
REPEATS = 9
PEERS = ("torch-fidelity", "prdc")


def contests():
    """Yield what is measured, whose it is, and both sides, each a function without arguments.

    Features are in single precision, as networks give them; torch-fidelity takes them as tensors.
    """
    rng = np.random.default_rng(0)

    def two_sets(n, d):
        return rng.normal(size=(n, d)).astype("float32"), (1.1 * rng.normal(size=(n, d))).astype("float32")

    if importlib.util.find_spec("torch_fidelity"):
        import torch
        from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

        def their_frechet_distance(*sets):
            return metric_fid.fid_statistics_to_metric(*map(metric_fid.fid_features_to_statistics, sets), False)

        for n, d in ((10_000, 64), (10_000, 512)):
            sets = two_sets(n, d)
            tensors = [torch.from_numpy(x) for x in sets]
            name = f"Fréchet distance, {n:,} + {n:,} rows of {d}"
            yield name, "torch-fidelity", metrics.frechet_distance, sets, their_frechet_distance, tensors

        sets = two_sets(10_000, 64)
        tensors = [torch.from_numpy(x) for x in sets]

        def their_kernel_distance(*sets):
            return metric_kid.kid_features_to_metric(*sets, kid_subsets=100, kid_subset_size=1000, verbose=False)

        def on_subsets(*sets):
            return metrics.kernel_distance(*sets, subset_size=1000, subsets=100, rng=0)

        name = "kernel distance, 10,000 + 10,000 rows of 64,"
        yield f"{name} 100 subsets of 1,000", "torch-fidelity", on_subsets, sets, their_kernel_distance, tensors
        yield f"{name} ours over all pairs", "torch-fidelity", metrics.kernel_distance, sets, their_kernel_distance, tensors

        logits = rng.normal(size=(50_000, 10)).astype("float32")

        def from_logits(logits):
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            return metrics.inception_score(odds / odds.sum(axis=1, keepdims=True))

        name, theirs = "Inception Score, 50,000 rows of 10, from logits", metric_isc.isc_features_to_metric
        yield name, "torch-fidelity", from_logits, [logits], theirs, [torch.from_numpy(logits)]

    for n in (1_000, 5_000):
        sets = two_sets(n, 64)
        if importlib.util.find_spec("torch_fidelity"):
            tensors = [torch.from_numpy(x) for x in sets]

            def their_precision_recall(*sets):
                return metric_prc.prc_features_to_metric(*sets, verbose=False)

            name = f"precision and recall, {n:,} + {n:,} rows of 64"
            yield name, "torch-fidelity", metrics.precision_recall, sets, their_precision_recall, tensors
        if importlib.util.find_spec("prdc"):
            import prdc

            def all_four(*sets):
                return metrics.precision_recall(*sets, neighbours=5), metrics.density_coverage(*sets, neighbours=5)

            def their_four(*sets):
                with contextlib.redirect_stdout(io.StringIO()):
                    return prdc.compute_prdc(*sets, nearest_k=5)

            name = f"these two, density and coverage, {n:,} + {n:,} rows of 64"
            yield name, "prdc", all_four, sets, their_four, sets


def main():
    """Measure every contest for which the peer is installed, then write the table."""
    found = [peer for peer in PEERS if importlib.util.find_spec(peer.replace("-", "_"))]
    if not found:
        raise SystemExit(f"neither {' nor '.join(PEERS)} is installed; the top of {Path(__file__).name} says how")
    versions = [
        f"{package} {importlib.metadata.version(package)}"
        for package in ("numpy", "torch", "scikit-learn", *found)
        if importlib.util.find_spec({"scikit-learn": "sklearn"}.get(package, package.replace("-", "_")))
    ]
    lines = [
        f"Measures of two sets of random features. Median processor time of {REPEATS} calls each, made in turn on one",
        "core. The ratio is ours over theirs, its median and, in brackets, the middle half of the",
        f"{REPEATS} ratios: below 1, ours is faster. {platform.machine()}, {os.cpu_count()} cores (one is used), Python "
        f"{platform.python_version()},",
        f"{', '.join(versions)}.",
        "",
        "| measure | peer | ours, ms | theirs, ms | ratio | |",
        "|---|---|---:|---:|---:|---|",
    ]
    for name, peer, ours, our_sets, theirs, their_sets in contests():
        sides = functools.partial(ours, *our_sets), functools.partial(theirs, *their_sets)
        seconds = speed.in_turn(sides, REPEATS).T
        mine, its = 1000 * np.median(seconds, axis=1)
        lines.append(
            f"| {name} | {peer} | {mine:,.0f} | {its:,.0f} | {speed.ratio(*seconds)} | {speed.verdict(*seconds)} |"
        )
        print(lines[-1], flush=True)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
