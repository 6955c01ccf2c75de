import concurrent.futures
import os
import signal
import time
import zipfile

import keras
import numpy as np
import pytest

from imggen_lib import training


class At(keras.callbacks.Callback):
    """Do something after a number of steps."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.action()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def new_record():
    return {"steps": 0, "seconds": 0.0}


def line():
    """The smallest model that fits: y = wx."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", run_eagerly=True)
    return model


def test_the_profile_is_quick_unless_the_variable_says_otherwise(monkeypatch):
    assert profile.current() == "quick"
    monkeypatch.setenv("IMGGEN_PROFILE", "full")
    assert profile.current() == "full"
    monkeypatch.setenv("IMGGEN_PROFILE", "fast")
    with pytest.raises(ValueError, match="IMGGEN_PROFILE is 'fast'; expected one of quick, full"):
        profile.current()


def test_a_time_budget_stops_within_an_epoch():
    budget = training.TimeBudget(0.3)
    began = time.perf_counter()
    model = line()
    model.fit(np.zeros((100_000, 1)), np.zeros(100_000), batch_size=1, verbose=0, callbacks=[budget])
    assert 0.3 <= budget.spent <= time.perf_counter() - began < 10
    assert 0 < int(model.optimizer.iterations) < 100_000


@pytest.mark.parametrize("seconds", [-1, np.nan, np.inf])
def test_a_time_budget_is_a_finite_number_of_seconds(seconds):
    with pytest.raises(ValueError, match="seconds"):
        training.TimeBudget(seconds)


def test_each_pass_holds_every_picture_once_in_its_own_order():
    images = np.arange(12)
    batches = training.Batches(images, images + 100, batch_size=4, seed=0, stop=6)
    assert len(batches) == 6
    first, second = (np.concatenate([batches[i][0] for i in steps]) for steps in ((0, 1, 2), (3, 4, 5)))
    assert sorted(first) == sorted(second) == images.tolist()
    assert (first != second).any()
    assert all((labels == pictures + 100).all() for pictures, labels in (batches[i] for i in range(6)))


def test_step_k_holds_the_same_pictures_wherever_training_began_and_in_any_order():
    def row(**options):
        return training.Batches(np.arange(10), np.arange(10), batch_size=3, seed=5, stop=20, **options)

    whole, rest = row(), row(start=7)
    assert len(rest) == 13
    for index in (12, 0, 5, 3):
        np.testing.assert_array_equal(rest[index][0], whole[7 + index][0])
    other = training.Batches(np.arange(10), np.arange(10), batch_size=3, seed=6, stop=20)
    assert any((whole[i][0] != other[i][0]).any() for i in range(3))


def test_batches_need_as_many_pictures_as_one_holds():
    with pytest.raises(ValueError, match="batch_size is 5 and there are 4 pictures"):
        training.Batches(np.arange(4), np.arange(4), batch_size=5, seed=0, stop=1)


def test_snapshots_are_drawn_at_their_steps_from_one_seed(tiny_gan, digits):
    gan = tiny_gan(ema_momentum=0.0)
    snapshots = training.Snapshots([0, 2, 9], n=3, seed=4)
    before = gan.sample(3, seed=4)
    gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[snapshots])
    assert list(snapshots.images) == [0, 2]
    np.testing.assert_array_equal(snapshots.images[0], before)
    np.testing.assert_array_equal(snapshots.images[2], gan.sample(3, seed=4))
    assert (snapshots.images[2] != before).any()


def test_a_budget_of_steps_is_kept_exactly_and_counted(tiny_gan, digits, tmp_path):
    gan, record = tiny_gan(), new_record()
    options = {"batch_size": 8, "seed": 0, "checkpoint": tmp_path / "gan.keras"}
    assert training.train(gan, digits, record, steps=3, **options)
    assert record["steps"] == int(gan.optimizer.iterations) == 3 and record["seconds"] > 0
    assert training.train(gan, digits, record, steps=3, **options)
    assert int(gan.optimizer.iterations) == 3
    assert not (tmp_path / "gan.keras").exists()


def test_a_budget_of_seconds_counts_what_was_spent_before(tiny_gan, digits, tmp_path):
    gan, record = tiny_gan(), {"steps": 5, "seconds": 100.0}
    options = {"batch_size": 8, "seed": 0, "checkpoint": tmp_path / "gan.keras"}
    assert training.train(gan, digits, record, seconds=100.5, **options)
    assert 100.5 <= record["seconds"] < 110 and record["steps"] == 5 + int(gan.optimizer.iterations)


@pytest.mark.parametrize("budget", [{}, {"steps": 1, "seconds": 1.0}])
def test_a_budget_is_either_steps_or_seconds(digits, tmp_path, budget):
    with pytest.raises(ValueError, match="expected one of the two"):
        training.train(None, digits, new_record(), batch_size=8, seed=0, checkpoint=tmp_path / "a.keras", **budget)


def test_interrupted_and_resumed_training_reaches_exactly_the_same_weights(tiny_gan, digits, tmp_path):
    """Pictures, latent vectors, dropout and Adam's moments must all go on where they stopped."""
    options = {"steps": 6, "batch_size": 8, "seed": 0, "checkpoint": tmp_path / "partial.keras"}
    whole, record = tiny_gan(), new_record()
    assert training.train(whole, digits, record, **options)

    stopped, record = tiny_gan(), new_record()
    assert not training.train(stopped, digits, record, callbacks=[At(3, interrupt)], **options)
    resumed, record = training.load(tmp_path / "partial.keras")
    assert record["steps"] == 3
    assert training.train(resumed, digits, record, **options)
    assert record["steps"] == int(resumed.optimizer.iterations) == 6
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_signals_mean_after_training_what_they_meant_before(tiny_gan, digits, tmp_path):
    def handlers():
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def fail():
        raise RuntimeError("a callback failed")

    before = handlers()
    options = {"steps": 2, "batch_size": 8, "seed": 0, "checkpoint": tmp_path / "gan.keras"}
    training.train(tiny_gan(), digits, new_record(), **options)
    assert handlers() == before
    try:
        with pytest.raises(RuntimeError, match="a callback failed"):
            training.train(tiny_gan(), digits, new_record(), callbacks=[At(1, fail)], **options)
        assert handlers() == before
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def test_a_checkpoint_holds_model_and_record_of_the_same_step(tiny_gan, digits, tmp_path):
    gan, record = tiny_gan(), new_record()
    checkpoint = training.Checkpoint(tmp_path / "gan.keras", record, every=0)
    gan.fit(digits.x_train[:24], batch_size=8, verbose=0, callbacks=[checkpoint])
    loaded, kept = training.load(tmp_path / "gan.keras")
    assert kept["steps"] == int(loaded.optimizer.iterations) == 3
    np.testing.assert_array_equal(loaded.sample(2, seed=0), gan.sample(2, seed=0))


class Poison(keras.callbacks.Callback):
    """Make one weight NaN after a number of steps, as a loss that overflows does."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            weight = self.model.trainable_variables[0]
            weight.assign(np.full(weight.shape, np.nan))


def test_a_diverged_training_stops_with_advice_and_is_put_back(tiny_gan, digits):
    gan = tiny_gan()
    watch = training.StopIfDiverged(every=2)
    message = r"the loss became nan in step 6: .* as it was after step 4 again\. Try a lower learning rate"
    with pytest.raises(training.Diverged, match=message):
        gan.fit(digits.x_train[:160], batch_size=8, verbose=0, callbacks=[Poison(5), watch])
    assert int(gan.optimizer.iterations) == watch.kept == 4
    assert all(np.isfinite(np.asarray(variable)).all() for variable in [*gan.variables, *gan.optimizer.variables])

    gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[training.StopIfDiverged()])
    assert int(gan.optimizer.iterations) == 6


def test_a_spoilt_state_is_not_kept_even_if_the_loss_has_not_shown_it_yet(tiny_gan, digits):
    watch = training.StopIfDiverged(every=1)
    with pytest.raises(training.Diverged):
        tiny_gan().fit(digits.x_train[:160], batch_size=8, verbose=0, callbacks=[Poison(3), watch])
    assert watch.kept == 2


def test_training_that_goes_well_is_not_stopped(tiny_gan, digits):
    gan, watch = tiny_gan(), training.StopIfDiverged(every=2)
    gan.fit(digits.x_train[:40], batch_size=8, verbose=0, callbacks=[watch])
    assert watch.kept == int(gan.optimizer.iterations) == 5


def test_a_last_step_that_spoils_the_weights_is_noticed_though_no_loss_has_shown_it(tiny_gan, digits):
    gan = tiny_gan()
    with pytest.raises(training.Diverged, match="a weight became NaN or infinite by step 2: .* after step 0 again"):
        gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[Poison(2), training.StopIfDiverged()])
    assert all(np.isfinite(np.asarray(variable)).all() for variable in gan.variables)


def test_training_works_in_another_thread_where_python_hands_out_no_signals(tiny_gan, digits, tmp_path):
    record, options = new_record(), {"steps": 2, "batch_size": 8, "seed": 0, "checkpoint": tmp_path / "a.keras"}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(training.train, tiny_gan(), digits, record, **options).result()
    assert record["steps"] == 2


def test_steps_are_whole(tiny_gan, digits, tmp_path):
    with pytest.raises(TypeError, match=r"steps is 2\.5"):
        training.train(tiny_gan(), digits, new_record(), steps=2.5, batch_size=8, seed=0, checkpoint=tmp_path / "a.keras")


def test_a_diverged_training_keeps_the_last_good_state_with_its_record(tiny_gan, digits, tmp_path):
    gan, record = tiny_gan(), new_record()
    before = gan.get_weights()
    path = tmp_path / "gan.keras"
    with pytest.raises(training.Diverged, match=r"What was well is kept in .*gan\.keras"):
        training.train(gan, digits, record, steps=9, batch_size=8, seed=0, checkpoint=path, callbacks=[Poison(3)])
    loaded, kept = training.load(path)
    assert kept["steps"] == record["steps"] == int(loaded.optimizer.iterations) == 0
    for weight, then in zip(loaded.generator.get_weights(), gan.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, then)
    for weight, then in zip(gan.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, then)


def test_how_often_a_copy_is_made_is_a_positive_whole_number():
    with pytest.raises(ValueError, match="every is 0"):
        training.StopIfDiverged(every=0)


def test_a_model_that_is_broken_before_training_is_named(tiny_gan, digits):
    gan = tiny_gan()
    gan.generator.weights[0].assign(np.full(gan.generator.weights[0].shape, np.nan))
    with pytest.raises(ValueError, match="NaN or infinite before training"):
        gan.fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[training.StopIfDiverged()])


def test_a_progress_bar_takes_more_steps_than_it_was_told(tiny_gan, digits):
    bar = training.ProgressBar(steps=2)
    tiny_gan().fit(digits.x_train[:32], batch_size=8, verbose=0, callbacks=[bar])
    assert bar.bar.n == 2


@pytest.fixture(scope="module")
def saved(tiny_vae, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "vae.keras"
    training.save(tiny_vae(), path, {"steps": 7, "note": "ü"})
    return path


def test_save_and_load_give_back_model_and_record(saved, tiny_vae):
    model, record = training.load(saved)
    assert record == {"steps": 7, "note": "ü"}
    np.testing.assert_array_equal(model.sample(2, seed=0), tiny_vae().sample(2, seed=0))
    assert len(list(saved.parent.iterdir())) == 1


def test_save_names_a_wrong_suffix_and_a_missing_folder(tiny_vae, tmp_path):
    with pytest.raises(ValueError, match=r"vae\.h5; expected a name that ends in \.keras"):
        training.save(tiny_vae(), tmp_path / "vae.h5", {})
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        training.save(tiny_vae(), tmp_path / "nowhere" / "vae.keras", {})


def test_load_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*vae\.keras"):
        training.load(tmp_path / "vae.keras")


def test_load_names_a_file_without_a_record(tiny_vae, tmp_path):
    tiny_vae().save(tmp_path / "vae.keras")
    with pytest.raises(ValueError, match=r"vae\.keras has no record of its training"):
        training.load(tmp_path / "vae.keras")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_load_names_a_truncated_file(saved, tmp_path, share):
    content = saved.read_bytes()
    (tmp_path / "vae.keras").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"vae\.keras is damaged"):
        training.load(tmp_path / "vae.keras")


def test_load_names_a_file_with_damaged_weights(saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        start = archive.getinfo("model.weights.h5").header_offset
    for offset in (100, 2000, 8000):
        content = bytearray(saved.read_bytes())
        content[start + offset] ^= 0xFF
        (tmp_path / "vae.keras").write_bytes(content)
        with pytest.raises(ValueError, match=r"vae\.keras is damaged"):
            training.load(tmp_path / "vae.keras")


def test_load_names_a_damaged_directory_of_the_file(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    # Of the archive's first directory entry, the version that is needed to read it.
    content[content.rindex(b"PK\1\2") + 6] ^= 0xFF
    (tmp_path / "vae.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"vae\.keras is damaged"):
        training.load(tmp_path / "vae.keras")
