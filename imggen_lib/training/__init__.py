"""Training: runs with a budget that can be resumed, callbacks, and shuffled batches. Keras is loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from imggen_lib.training.callbacks import (
        Checkpoint,
        Diverged,
        ProgressBar,
        SampleSheet,
        Snapshots,
        StopIfDiverged,
        StopOnSignal,
        TimeBudget,
    )
    from imggen_lib.training.estimates import Estimate, estimate
    from imggen_lib.training.loop import Batches, fit
    from imggen_lib.training.runs import Run, run

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "callbacks": [
            "Checkpoint",
            "Diverged",
            "ProgressBar",
            "SampleSheet",
            "Snapshots",
            "StopIfDiverged",
            "StopOnSignal",
            "TimeBudget",
        ],
        "estimates": ["Estimate", "estimate"],
        "loop": ["Batches", "fit"],
        "runs": ["Run", "run"],
    },
)

__all__ = [
    "Batches", "Checkpoint", "Diverged", "Estimate", "ProgressBar", "Run", "SampleSheet", "Snapshots", "StopIfDiverged",
    "StopOnSignal",
    "TimeBudget", "estimate", "fit", "run",
]  # fmt: skip
