"""Training on a folder of images from the command line, and what protects a long run."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest

from imggen_lib import cli, datasets, pretrained, recipes, training


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Sixty random images of two classes, and three files that cannot be read."""
    path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 128)):
        (path / name).mkdir()
        for number in range(30):
            coarse = rng.integers(low, low + 128, size=(5, 4, 3), dtype=np.uint8)
            PIL.Image.fromarray(coarse).resize((30, 40)).save(path / name / f"{number}.png")
        (path / name / "broken.jpg").write_bytes(b"not an image")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, instead of the user's."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_a_folder_is_trained_on_sampled_and_resumed(images, folder, capsys):
    command = ["train", "conditional_gan", "--images", str(images), "--size", "17x23", "--batch-size", "8", "-o", "a.keras"]
    options = ["--set", "filters=(8,)", "--set", "latent_dim=4"]
    assert cli.main([*command, *options, "--num-steps", "3"]) == 0
    printed, errors = capsys.readouterr()
    assert "imggen: warning: 2 of 62 files could not be read" in errors
    assert "imggen: warning: there are 54 training images; conditional_gan needs about 500" in errors
    assert printed.startswith("54 training images; ") and " s per step, " in printed and " MB of memory" in printed
    record = pretrained.record("a.keras")
    assert record["image_shape"] == [17, 23, 3] and record["condition"]["names"] == ["bright", "dark"]
    assert record["dataset"] == f"{images.name} (17x23, rgb, crop)"
    assert cli.main(["sample", "a.keras", "-n", "2", "--label", "dark", "-o", "a.npz"]) == 0
    assert np.load("a.npz")["images"].shape == (2, 17, 23, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--size 16", "there is no folder nowhere"),
        ("", "--size is None; expected a height, or height x width"),
        ("--size 16x16x16", "--size is '16x16x16'"),
        ("--size big", "--size is 'big'"),
        ("--size 16 --mode cmyk", "there is no folder nowhere"),
        ("--size 16 --dataset digits", "--dataset and --images are both given; choose one"),
    ],
)
def test_bad_folder_arguments_are_named(folder, capsys, arguments, message):
    assert cli.main(["train", "gan", "--images", "nowhere", "-o", "a.keras", *arguments.split()]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and list(folder.iterdir()) == []


def test_estimate_counts_parameters_and_leaves_the_model_as_it_was(digits):
    model = recipes.get("vae_2d").model(digits.image_shape, None, seed=0)
    model.compile(optimizer=keras.optimizers.Adam(0.1))
    before = model.get_weights()
    found = training.estimate(model, digits, batch_size=16)
    assert found.images == 1437 and found.parameters == sum(np.size(w) for w in before)
    assert found.seconds_per_step > 0 and found.seconds_per_sample > 0
    # Weights, gradients and two moments in float32 are the least.
    assert found.megabytes > 16 * found.parameters / 2**20
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_estimate_counts_the_networks_of_an_autoencoder(digits):
    model = recipes.get("token_transformer").model(digits.image_shape, digits.condition.size, seed=0)
    model.compile(optimizer="adam")
    autoencoder = model.autoencoder
    autoencoder.compile(optimizer="adam")
    whole, part = (training.estimate(one, digits, batch_size=4) for one in (model, autoencoder))
    assert whole.megabytes > part.megabytes and whole.parameters > part.parameters


def test_a_reduced_size_is_reported(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(20, 48, 64, 1)).astype("float32"), np.arange(20) % 2
    data = datasets.Dataset("large", x, y, x[:4], y[:4], datasets.Condition("classes", ("a", "b")))
    small, lines = {"filters": 8, "blocks": 1, "mixtures": 2, "num_steps": 1, "batch_size": 4}, []
    with pytest.warns(UserWarning, match="20 training images"):
        run = training.run("pixelcnn", dataset=data, evaluate=False, report=lines.append, **small)
    assert len(lines) == 2 and "24" in lines[1] and "32" in lines[1]
    assert run.model.sample(1, seed=0).shape == (1, 48, 64, 1)


QUICK = {"dataset": "digits", "num_steps": 4, "batch_size": 8}


def test_sample_sheets_are_written_at_regular_times(tmp_path, tiny_gan, digits):
    path = tmp_path / "gan.samples.png"
    sheet = training.SampleSheet(path, every=0, n=4)
    gan = tiny_gan()
    gan.fit(digits.x_train[:32], batch_size=8, verbose=0, callbacks=[sheet])
    assert np.asarray(PIL.Image.open(path)).shape == (22, 22)
    path.unlink()
    gan.fit(digits.x_train[:32], batch_size=8, verbose=0, callbacks=[training.SampleSheet(path, every=60)])
    assert not path.exists()


def test_checkpoint_that_cannot_be_written_is_a_warning_and_is_tried_again(tmp_path, tiny_gan, digits, monkeypatch):
    save, calls = pretrained.save, []

    def sometimes(model, path, record):
        calls.append(record["steps"])
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        save(model, path, record)

    monkeypatch.setattr(pretrained, "save", sometimes)
    path, record = tmp_path / "gan.keras", {"steps": 7}
    checkpoint = training.Checkpoint(path, record, every=0)
    with pytest.warns(UserWarning, match=r"could not be written \(No space left on device\); training continues"):
        tiny_gan().fit(digits.x_train[:16], batch_size=8, verbose=0, callbacks=[checkpoint])
    assert len(calls) == 2 and pretrained.record(path) == record


def test_place_that_cannot_be_written_is_reported_before_training(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OSError, match=r"nothing can be written into .* \(Permission denied\); choose another place"):
        training.run("vae_2d", tmp_path / "a.keras", **QUICK)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_reported_before_training(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"has 0\.0 MB of free space and the run needs [\d.]+ MB"):
        training.run("vae_2d", tmp_path / "a.keras", **QUICK)


def test_closed_pipe_and_ascii_terminal_end_without_a_traceback():
    listing = "imggen_lib list | head -1"
    run = subprocess.run(f"{sys.executable} -m {listing}", shell=True, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("models\n", "")
    command = [sys.executable, "-m", "imggen_lib", "list"]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONIOENCODING": "ascii"})
    assert run.returncode == 0 and "Fr?chet distance" in run.stdout


def test_run_on_a_folder_can_be_scored_against_its_dataset(images, folder):
    data = datasets.from_folder(images, size=16, cache=folder / "cache")
    run = training.run("vae_2d", "a.npz", dataset=data, num_steps=2, batch_size=8, evaluate=False)
    assert run.record["image_shape"] == [16, 16, 3]
    assert json.loads((folder / "a.json").read_text())["dataset"] == data.name
    assert pretrained.load("a.npz").sample(2, seed=0).shape == (2, 16, 16, 3)
