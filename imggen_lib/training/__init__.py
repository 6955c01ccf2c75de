"""Training: runs with a budget that can be resumed, callbacks, and shuffled batches. Keras is loaded on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    from imggen_lib.training.estimates import Duration, Estimate, duration, estimate
    from imggen_lib.training.loop import Batches, fit
    from imggen_lib.training.runs import Run, run

__all__ = [
    "Batches", "Checkpoint", "Diverged", "Duration", "Estimate", "ProgressBar", "Run", "SampleSheet", "Snapshots",
    "StopIfDiverged", "StopOnSignal", "TimeBudget", "duration", "estimate", "fit", "run",
]  # fmt: skip

# The module that defines each name.
_MODULE_OF = {
    "Batches": "loop",
    "Checkpoint": "callbacks",
    "Diverged": "callbacks",
    "Duration": "estimates",
    "Estimate": "estimates",
    "ProgressBar": "callbacks",
    "Run": "runs",
    "SampleSheet": "callbacks",
    "Snapshots": "callbacks",
    "StopIfDiverged": "callbacks",
    "StopOnSignal": "callbacks",
    "TimeBudget": "callbacks",
    "duration": "estimates",
    "estimate": "estimates",
    "fit": "loop",
    "run": "runs",
}


def __getattr__(name: str) -> Any:
    """Load a name, and the module that defines it, on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
