"""Callbacks, batches and the training loop."""

import concurrent.futures
import os
import signal
import time

import keras
import numpy as np
import pytest

from imggen_lib import pretrained, training
from imggen_lib.training.callbacks import StepCounter


class After(keras.callbacks.Callback):
    """Call a function after a number of steps."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.action()


class Poison(keras.callbacks.Callback):
    """Set one weight to NaN after a number of steps, as a loss that overflows does."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            weight = self.model.trainable_variables[0]
            weight.assign(np.full(weight.shape, np.nan))


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def new_record():
    return {"steps": 0, "seconds": 0.0}


def linear_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", run_eagerly=True)
    return model


def all_finite(model):
    variables = [*model.variables, *model.optimizer.variables]
    return all(np.isfinite(np.asarray(variable)).all() for variable in variables)


def test_time_budget_stops_inside_an_epoch():
    budget = training.TimeBudget(0.3)
    began = time.perf_counter()
    model = linear_model()
    model.fit(np.zeros((100_000, 1)), np.zeros(100_000), batch_size=1, verbose=0, callbacks=[budget])
    assert 0.3 <= budget.spent <= time.perf_counter() - began
    assert 0 < int(model.optimizer.iterations) < 100_000


@pytest.mark.parametrize("seconds", [-1, np.nan, np.inf])
def test_time_budget_rejects_negative_and_infinite_seconds(seconds):
    with pytest.raises(ValueError, match="seconds"):
        training.TimeBudget(seconds)


def test_every_epoch_has_every_image_once_with_its_label_in_an_order_of_its_own():
    images = np.arange(12)
    batches = training.Batches(images, images + 100, batch_size=4, seed=0, stop=6)
    assert len(batches) == 6
    first, second = (np.concatenate([batches[i][0] for i in steps]) for steps in ((0, 1, 2), (3, 4, 5)))
    assert sorted(first) == sorted(second) == images.tolist()
    assert (first != second).any()
    assert all((labels == rows + 100).all() for rows, labels in (batches[i] for i in range(6)))


def test_batch_of_step_k_does_not_depend_on_the_start_or_the_order_of_access():
    def batches(seed=5, **options):
        return training.Batches(np.arange(10), np.arange(10), batch_size=3, seed=seed, stop=20, **options)

    whole, rest = batches(), batches(start=7)
    assert len(rest) == 13
    for index in (12, 0, 5, 3):
        np.testing.assert_array_equal(rest[index][0], whole[7 + index][0])
    assert any((batches(seed=6)[i][0] != whole[i][0]).any() for i in range(3))


def test_batches_reject_fewer_images_than_one_batch():
    with pytest.raises(ValueError, match="batch_size is 5 and there are 4 images"):
        training.Batches(np.arange(4), np.arange(4), batch_size=5, seed=0, stop=1)


def test_snapshots_are_the_samples_of_one_seed_at_the_chosen_steps(tiny_gan, digits):
    gan = tiny_gan(ema_momentum=0.0)
    snapshots = training.Snapshots([0, 2, 9], n=3, seed=4)
    before = gan.sample(3, seed=4)
    gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[snapshots])
    assert list(snapshots.images) == [0, 2]
    np.testing.assert_array_equal(snapshots.images[0], before)
    np.testing.assert_array_equal(snapshots.images[2], gan.sample(3, seed=4))
    assert (snapshots.images[2] != before).any()


def test_fit_makes_exactly_the_given_steps_and_counts_them(tiny_gan, digits, tmp_path):
    gan, record = tiny_gan(), new_record()
    options = {"batch_size": 8, "seed": 0, "checkpoint": tmp_path / "gan.keras"}
    assert training.fit(gan, digits, record, num_steps=3, **options)
    assert record["steps"] == int(gan.optimizer.iterations) == 3 and record["seconds"] > 0
    assert training.fit(gan, digits, record, num_steps=3, **options)
    assert int(gan.optimizer.iterations) == 3
    assert not (tmp_path / "gan.keras").exists()


def test_fit_counts_the_seconds_that_the_record_has(tiny_gan, digits):
    gan, record = tiny_gan(), {"steps": 5, "seconds": 100.0}
    assert training.fit(gan, digits, record, seconds=100.5, batch_size=8, seed=0)
    assert 100.5 <= record["seconds"] < 110 and record["steps"] == 5 + int(gan.optimizer.iterations)
    # A record of an older version has no images_seen: it follows from the steps.
    assert record["images_seen"] == 8 * record["steps"]


@pytest.mark.parametrize("budget", [{}, {"num_steps": 1, "seconds": 1.0}])
def test_fit_needs_exactly_one_kind_of_budget(digits, budget):
    with pytest.raises(ValueError, match="expected exactly one of the two"):
        training.fit(None, digits, new_record(), batch_size=8, seed=0, **budget)


def test_fit_rejects_a_fractional_number_of_steps(tiny_gan, digits):
    with pytest.raises(TypeError, match=r"num_steps is 2\.5"):
        training.fit(tiny_gan(), digits, new_record(), num_steps=2.5, batch_size=8, seed=0)


def test_interrupted_and_resumed_training_gives_the_weights_of_an_uninterrupted_one(tiny_gan, digits, tmp_path):
    """Batches, latent vectors, dropout and Adam's moments must all continue where they stopped."""
    options = {"num_steps": 6, "batch_size": 8, "seed": 0, "checkpoint": tmp_path / "partial.keras"}
    whole = tiny_gan()
    assert training.fit(whole, digits, new_record(), **options)

    assert not training.fit(tiny_gan(), digits, new_record(), callbacks=[After(3, interrupt)], **options)
    path = tmp_path / "partial.keras"
    resumed, record = pretrained.load(path), pretrained.record(path)
    assert record["steps"] == 3
    assert training.fit(resumed, digits, record, **options)
    assert record["steps"] == int(resumed.optimizer.iterations) == 6
    for ours, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7)


def test_signal_handlers_are_restored_after_success_and_after_failure(tiny_gan, digits):
    def handlers():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def fail():
        raise RuntimeError("a callback failed")

    before, options = handlers(), {"num_steps": 2, "batch_size": 8, "seed": 0}
    training.fit(tiny_gan(), digits, new_record(), **options)
    assert handlers() == before
    try:
        with pytest.raises(RuntimeError, match="a callback failed"):
            training.fit(tiny_gan(), digits, new_record(), callbacks=[After(1, fail)], **options)
        assert handlers() == before
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def test_fit_works_in_a_thread_that_receives_no_signals(tiny_gan, digits):
    record = new_record()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(training.fit, tiny_gan(), digits, record, num_steps=2, batch_size=8, seed=0)
        assert run.result()
    assert record["steps"] == 2


def test_checkpoint_holds_model_and_record_of_the_same_step(tiny_gan, digits, tmp_path):
    gan, record, path = tiny_gan(), new_record(), tmp_path / "gan.keras"
    callbacks = [StepCounter(record), training.Checkpoint(path, record, every=0)]
    gan.fit(digits.x_train[:24], batch_size=8, verbose=0, callbacks=callbacks)
    loaded = pretrained.load(path)
    assert pretrained.record(path)["steps"] == int(loaded.optimizer.iterations) == 3
    np.testing.assert_array_equal(loaded.sample(2, seed=0), gan.sample(2, seed=0))


def test_divergence_stops_training_and_restores_the_last_good_state(tiny_gan, digits):
    gan, watch = tiny_gan(), training.StopIfDiverged(every=2)
    message = r"the loss became nan in step 6: .* state after step 4\. Try a lower learning rate"
    with pytest.raises(training.Diverged, match=message):
        gan.fit(digits.x_train[:160], batch_size=8, verbose=0, callbacks=[Poison(5), watch])
    assert int(gan.optimizer.iterations) == watch.kept == 4
    assert all_finite(gan)

    # Training can go on from there, and is not stopped without a reason.
    watch = training.StopIfDiverged(every=1)
    gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[watch])
    assert int(gan.optimizer.iterations) == 6 and watch.kept == 2


def test_no_copy_is_made_of_a_state_with_nan_before_the_loss_shows_it(tiny_gan, digits):
    watch = training.StopIfDiverged(every=1)
    with pytest.raises(training.Diverged):
        tiny_gan().fit(digits.x_train[:160], batch_size=8, verbose=0, callbacks=[Poison(3), watch])
    assert watch.kept == 2


def test_nan_from_the_last_update_is_detected_although_no_loss_shows_it(tiny_gan, digits):
    gan = tiny_gan()
    with pytest.raises(training.Diverged, match="a weight became NaN or infinite by step 2: .* after step 0"):
        gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[Poison(2), training.StopIfDiverged()])
    assert all_finite(gan)


def test_diverged_fit_writes_the_last_good_state_with_its_record(tiny_gan, digits, tmp_path):
    gan, record, path = tiny_gan(), new_record(), tmp_path / "gan.keras"
    before = gan.get_weights()
    options = {"num_steps": 9, "batch_size": 8, "seed": 0, "callbacks": [Poison(3)]}
    with pytest.raises(training.Diverged, match=r"The last good state is in .*gan\.keras"):
        training.fit(gan, digits, record, checkpoint=path, **options)
    loaded = pretrained.load(path)
    assert pretrained.record(path)["steps"] == record["steps"] == int(loaded.optimizer.iterations) == 0
    for model in (gan, loaded):
        for weight, expected in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_stop_if_diverged_rejects_bad_arguments_and_a_model_with_nan(tiny_gan, digits):
    with pytest.raises(ValueError, match="every is 0"):
        training.StopIfDiverged(every=0)
    gan = tiny_gan()
    gan.generator.weights[0].assign(np.full(gan.generator.weights[0].shape, np.nan))
    with pytest.raises(ValueError, match="NaN or infinite before training"):
        gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[training.StopIfDiverged()])


def test_progress_bar_stays_at_its_total_if_there_are_more_steps(tiny_gan, digits):
    bar = training.ProgressBar(steps=2)
    tiny_gan().fit(digits.x_train[:32], batch_size=8, verbose=0, callbacks=[bar])
    assert bar.bar.n == 2
