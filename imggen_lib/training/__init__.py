"""Training: recipes, runs that keep to a budget and can be resumed, callbacks. Keras is imported on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["callbacks", "checkpoint", "loop", "recipes"],
    submod_attrs={
        "callbacks": ["Diverged", "ProgressBar", "Snapshots", "StopIfDiverged", "StopOnSignal", "TimeBudget"],
        "checkpoint": ["Checkpoint"],
        "loop": ["Batches", "fit"],
        "run": ["Run", "run"],
    },
)
