"""Results of published implementations on fixed random features. Writes ``metrics.json``, which test_metrics reads.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install torch-fidelity prdc
    /tmp/peers/bin/python tests/vectors/make_metrics.py

The features are generated from their seeds, here and in the test, so that the file holds only results. This script does not
import the library under test.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("metrics.json")
PACKAGES = ("torch-fidelity", "prdc", "torch", "scikit-learn", "numpy")

# Numbers of real and of generated features, their dimension, and the shift and scale of the generated ones.
CASES = {
    "alike": {"seed": 0, "real": 400, "fake": 400, "width": 8, "shift": 0.0, "scale": 1.0},
    "shifted": {"seed": 1, "real": 500, "fake": 300, "width": 16, "shift": 0.3, "scale": 1.0},
    "narrow": {"seed": 2, "real": 300, "fake": 500, "width": 4, "shift": 0.1, "scale": 0.6},
    "wide": {"seed": 3, "real": 400, "fake": 400, "width": 64, "shift": 0.0, "scale": 1.1},
}
NEIGHBOURS = (3, 5)
SUBSETS, SUBSET_SIZE = 20, 100
SPLITS = (1, 10)


def features(
    seed: int, real: int, fake: int, width: int, shift: float, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return real features, generated features, and logits of ten classes for the generated images."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(real, width))
    b = scale * rng.normal(size=(fake, width)) + shift
    return a, b, 2 * rng.normal(size=(fake, 10)) + np.linspace(0, 1, 10)


def main() -> None:
    """Compute the results of every case and write the file."""
    import prdc
    import torch
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    results = {}
    for name, case in CASES.items():
        a, b, logits = features(**case)
        real, fake = torch.from_numpy(a), torch.from_numpy(b)
        statistics = [metric_fid.fid_features_to_statistics(x) for x in (real, fake)]
        subsets = {"kid_subsets": SUBSETS, "kid_subset_size": SUBSET_SIZE, "rng_seed": 2020, "verbose": False}
        result = {
            "sums": [float(x.sum()) for x in (a, b, logits)],
            "frechet_distance": metric_fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"],
            "kernel_distance": {
                "subsets": metric_kid.kid_features_to_metric(real, fake, **subsets)["kernel_inception_distance_mean"]
            },
            "inception_score": {
                str(splits): metric_isc.isc_features_to_metric(torch.from_numpy(logits), splits, shuffle=False)[
                    "inception_score_mean"
                ]
                for splits in SPLITS
            },
        }
        if len(a) == len(b):
            whole = {"kid_subsets": 1, "kid_subset_size": len(a), "verbose": False}
            kernel = metric_kid.kid_features_to_metric(real, fake, **whole)
            result["kernel_distance"]["whole"] = kernel["kernel_inception_distance_mean"]
        for k in NEIGHBOURS:
            # torch-fidelity takes the generated features first.
            theirs = metric_prc.prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
            result[f"torch-fidelity, {k} neighbours"] = {key: theirs[key] for key in ("precision", "recall")}
            four = prdc.compute_prdc(real_features=a, fake_features=b, nearest_k=k)
            result[f"prdc, {k} neighbours"] = {key: float(value) for key, value in four.items()}
        results[name] = result
    origin = {package: importlib.metadata.version(package) for package in PACKAGES}
    PATH.write_text(
        json.dumps({"made by": "tests/vectors/make_metrics.py", "with": origin, "cases": results}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
