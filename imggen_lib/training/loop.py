"""The training loop: shuffled batches that resume, a budget of steps or seconds, checkpoints."""

import keras
import numpy as np

from imggen_lib import _validation as validate
from imggen_lib.training.callbacks import Diverged, ProgressBar, StopIfDiverged, StopOnSignal, TimeBudget
from imggen_lib.training.checkpoint import Checkpoint, save


class Batches(keras.utils.PyDataset):
    """A row of shuffled batches in which step k always holds the same pictures, however often training stopped.

    Each pass over the data has its own order, drawn from the seed and the number of the pass.

    Parameters
    ----------
    images : numpy.ndarray
    labels : numpy.ndarray
    batch_size : int
    seed : int
    start, stop : int
        The first step that this row holds, and the step before which it ends.

    Raises
    ------
    ValueError
        If there are fewer pictures than one batch needs.

    Examples
    --------
    >>> batches = Batches(np.arange(4), np.arange(4), batch_size=2, seed=0, stop=6)
    >>> len(batches), sorted(np.concatenate([batches[2][0], batches[3][0]]).tolist())
    (6, [0, 1, 2, 3])
    """

    def __init__(self, images, labels, *, batch_size, seed, start=0, stop):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = validate.integer(batch_size, "batch_size")
        self.seed, self.start, self.stop = seed, start, stop
        self.per_pass = len(images) // batch_size
        if self.per_pass == 0:
            raise ValueError(f"batch_size is {batch_size} and there are {len(images)} pictures; expected at least as many")
        self.pass_number = None

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, index):
        pass_number, position = divmod(self.start + index, self.per_pass)
        if pass_number != self.pass_number:
            self.order = np.random.default_rng([self.seed, pass_number]).permutation(len(self.images))
            self.pass_number = pass_number
        rows = self.order[position * self.batch_size : (position + 1) * self.batch_size]
        return self.images[rows], self.labels[rows]


def train(model, dataset, record, *, steps=None, seconds=None, batch_size, seed, checkpoint, callbacks=()):
    """Train a compiled model for a number of steps or of seconds, counting on from its record.

    Parameters
    ----------
    model : keras.Model
    dataset : imggen_lib.datasets.Dataset
    record : dict
        With ``steps`` and ``seconds`` done so far; both are brought up to date in place.
    steps : int, optional
    seconds : float, optional
        The whole budget, what is done already included: one of the two.
    batch_size, seed : int
        Of the row of batches.
    checkpoint : path_like
        Where to save now and then, and when stopped.
    callbacks : sequence of keras.callbacks.Callback

    Returns
    -------
    bool
        Whether the budget was used up; False if a signal stopped it, and then ``checkpoint`` holds the state.

    Raises
    ------
    ValueError
        If not exactly one of steps and seconds is given, or the data make no batch.
    Diverged
        If the loss becomes NaN or infinite. Model, record and ``checkpoint`` then hold the latest state that was well.

    Examples
    --------
    >>> from imggen_lib import catalog, datasets
    >>> model = recipes.get("vae_2d").build((8, 8, 1), 10, seed=0)
    >>> model.compile(optimizer="adam")
    >>> record = {"steps": 0, "seconds": 0.0}
    >>> train(model, datasets.load("digits"), record, steps=2, batch_size=8, seed=0, checkpoint="partial.keras")
    True
    >>> record["steps"]
    2
    """
    if (steps is None) == (seconds is None):
        raise ValueError(f"steps is {steps} and seconds is {seconds}; expected one of the two")
    steps = steps if steps is None else validate.integer(steps, "steps", minimum=0)
    left = {"steps": steps - record["steps"]} if seconds is None else {"seconds": seconds - record["seconds"]}
    if min(left.values()) <= 0:
        return True
    # A budget of seconds ends through TimeBudget, so the row of batches only has to be long enough.
    stop = steps if seconds is None else record["steps"] + 100_000_000
    batches = Batches(dataset.x_train, dataset.y_train, batch_size=batch_size, seed=seed, start=record["steps"], stop=stop)
    stopping, sane, before = StopOnSignal(), StopIfDiverged(), record["steps"]
    budget = [] if seconds is None else [TimeBudget(left["seconds"])]
    saving = Checkpoint(checkpoint, record)
    try:
        model.fit(
            batches,
            shuffle=False,
            verbose=0,
            callbacks=[*budget, *callbacks, ProgressBar(**left), saving, stopping, sane],
        )
    except Diverged as error:
        record["steps"] = before + sane.kept
        save(model, checkpoint, record)
        raise Diverged(f"{error}. What was well is kept in {checkpoint}") from None
    finally:
        # Keras does not tell callbacks when training fails, and Ctrl-C must work again then.
        stopping.on_train_end()
    if stopping.stopped:
        save(model, checkpoint, record)
    return not stopping.stopped
