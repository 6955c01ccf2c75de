import contextlib
import dataclasses
import math
import re
import resource
import signal
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest

from imggen_lib import cli, datasets, pretrained, training
from imggen_lib.datasets import marble_captions
from imggen_lib.training import recipes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A file that the command line wrote: a small model of digits, trained for a second."""
    path = tmp_path_factory.mktemp("trained") / "digits.keras"
    assert cli.main(["train", "vae_2d", "--dataset", "digits", "--seconds", "1", "-o", str(path)]) == 0
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, so that file names in commands are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, *arguments):
    """Run a command that must fail, and return the one line that it says."""
    capsys.readouterr()
    assert cli.main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("imggen: ")
    return line


def test_list_names_every_model_and_dataset(capsys):
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in recipes.names():
        assert name in printed and recipes.get(name).summary in printed
    for name in pretrained.shipped():
        assert pretrained.record(name)["quality"] in printed
    assert printed.count("without shipped weights") == len(recipes.names()) - len(pretrained.shipped())
    for name in datasets.names():
        assert f"  {name}\n" in printed


def test_the_module_runs_as_a_program():
    run = subprocess.run([sys.executable, "-m", "imggen_lib", "list"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("models\n  classifier ")


def test_train_writes_a_model_with_its_record_and_nothing_else(trained):
    model, record = training.load(trained)
    assert [path.name for path in trained.parent.iterdir()] == ["digits.keras"]
    assert (record["model"], record["dataset"], record["seed"]) == ("vae_2d", "digits", 0)
    assert record["steps"] == int(model.optimizer.iterations) >= 1 and record["seconds"] >= 1
    assert record["image_shape"] == [8, 8, 1] and len(record["class_names"]) == 10
    assert (record["devices"], record["precision"]) == (1, "float32")
    assert record["quality"] == "not scored: there are no features for digits"


def test_sample_writes_pictures_that_the_seed_decides(trained, folder, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli.main(["sample", str(trained), "-n", "5", "--seed", str(seed), "-o", f"{name}.npz"]) == 0
        assert capsys.readouterr().out == f"{name}.npz: 5 images of vae_2d, seed {seed}\n"
    a, b, c = (np.load(f"{name}.npz")["images"] for name in "abc")
    assert a.shape == (5, 8, 8, 1) and a.dtype == np.float32 and a.min() >= 0 and a.max() <= 1
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    np.testing.assert_array_equal(a, training.load(trained)[0].sample(5, seed=1))


def test_sample_draws_a_png_with_the_pictures_in_a_square(trained, folder):
    assert cli.main(["sample", str(trained), "-n", "4", "-o", "a.png"]) == 0
    assert cli.main(["sample", str(trained), "-n", "4", "-o", "a.npz"]) == 0
    sheet, images = np.asarray(PIL.Image.open("a.png")), np.load("a.npz")["images"]
    assert sheet.shape == (22, 22)
    np.testing.assert_array_equal(sheet[2:10, 12:20], np.round(images[1, ..., 0] * 255))


def test_a_shipped_model_is_sampled_by_its_name_and_scored(folder, capsys):
    assert cli.main(["sample", "gan", "-n", "500", "-o", "a.npz"]) == 0
    capsys.readouterr()
    assert cli.main(["score", "a.npz"]) == 0
    printed, *others = capsys.readouterr().out.splitlines()
    assert "500 images against 2,000 test images of fashion_mnist" in printed
    assert 1 < float(printed.split(" = ")[1].split()[0]) < 10
    names = ["kernel distance", "precision", "recall", "density", "coverage"]
    found = [re.fullmatch(r"([a-z ]+) (-?[\d.]+) \(real images: (-?[\d.]+)\)", line).groups() for line in others]
    assert [name for name, *_ in found] == names
    values = {name: (float(value), float(real)) for name, value, real in found}
    assert values["kernel distance"][0] > values["kernel distance"][1]
    for name in ("recall", "coverage"):
        assert 0.1 < values[name][0] < values[name][1] < 1


def test_very_few_images_get_their_distance_alone(folder, capsys, clothes):
    np.savez("few.npz", images=clothes.x_train[:5])
    assert cli.main(["score", "few.npz"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_real_images_score_one(folder, clothes, capsys):
    np.savez("real.npz", images=clothes.x_train[:200])
    assert cli.main(["score", "real.npz"]) == 0
    assert "= 1.0 times the floor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train dall-e -o a.keras", "model is 'dall-e'; expected one of classifier, gan"),
        ("train gan -o a.h5", "expected a name that ends in .keras"),
        ("train gan -o nowhere/a.keras", "the folder nowhere does not exist"),
        ("train gan --dataset mnist -o a.keras", "dataset is 'mnist'; expected one of captioned_marbles"),
        ("train gan --profile fast -o a.keras", "profile is 'fast'; expected one of quick, full"),
        ("train gan --seconds 0 -o a.keras", "--seconds is 0"),
        ("train gan --seconds nan -o a.keras", "--seconds is nan"),
        ("train gan --seed -1 -o a.keras", "--seed is -1"),
        ("train gan --dataset faces -o a.keras", "must be multiples of 4"),
        ("train gan --resume -o a.keras", "there is no file a.keras"),
        ("sample dall-e -o a.npz", "neither a shipped model"),
        ("sample classifier -o a.npz", "classifier does not draw pictures"),
        ("sample missing.keras -o a.npz", "there is no file missing.keras"),
        ("sample TRAINED -o a.jpg", "expected a name that ends in .npz or .png"),
        ("sample TRAINED -o nowhere/a.npz", "the folder nowhere does not exist"),
        ("sample TRAINED -n 0 -o a.npz", "-n is 0"),
        ("sample TRAINED -n -5 -o a.npz", "-n is -5"),
        ("sample TRAINED -n 1000000000000000 -o a.npz", "memory"),
        ("sample TRAINED --seed -1 -o a.npz", "--seed is -1"),
        ("sample TRAINED --label 3 -o a.npz", "trained without labels"),
        ("sample TRAINED --label ten -o a.npz", "vae_2d was trained without labels and cannot draw a chosen class"),
        ("score missing.npz", "there is no file missing.npz"),
        ("score missing.npz --dataset mnist", "missing.npz"),
    ],
)
def test_a_bad_command_is_answered_in_one_line_and_writes_nothing(trained, folder, capsys, arguments, message):
    arguments = [trained if argument == "TRAINED" else argument for argument in arguments.split()]
    assert message in refused(capsys, *arguments)
    assert list(folder.iterdir()) == []


def test_a_bad_profile_in_the_environment_is_named(folder, capsys, monkeypatch):
    monkeypatch.setenv("IMGGEN_PROFILE", "fast")
    assert "IMGGEN_PROFILE is 'fast'" in refused(capsys, "train", "gan", "-o", "a.keras")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 8, 8, 1))}, "images has the shape (3, 8, 8, 1)"),
        ({"images": np.zeros((3, 28, 28))}, "images has the shape (3, 28, 28)"),
        ({"images": np.full((3, 28, 28, 1), np.nan)}, "NaN"),
        ({"images": np.full((3, 28, 28, 1), 1.5)}, "expected [0, 1]"),
        ({"images": np.zeros((3, 28, 28, 1), "uint8")}, "uint8"),
        ({"images": np.zeros((1, 28, 28, 1))}, "there are 1 images"),
        ({"pictures": np.zeros((3, 28, 28, 1))}, "it holds ['pictures'], not ['images']"),
        ({"images": np.array([None])}, "not a usable .npz file"),
    ],
)
def test_pictures_that_cannot_be_scored_are_named(folder, capsys, arrays, message):
    np.savez("a.npz", **arrays)
    assert message in refused(capsys, "score", "a.npz")


def test_damaged_files_are_named(trained, folder, capsys, clothes):
    np.savez_compressed("whole.npz", images=clothes.x_test[:5])
    content = (folder / "whole.npz").read_bytes()
    (folder / "half.npz").write_bytes(content[: len(content) // 2])
    assert "half.npz is not a usable .npz file" in refused(capsys, "score", "half.npz")
    (folder / "half.keras").write_bytes(trained.read_bytes()[:5000])
    assert "half.keras is damaged" in refused(capsys, "sample", "half.keras", "-o", "a.npz")
    np.save(folder / "single.npy", clothes.x_test[:5])
    (folder / "single.npy").rename("single.npz")
    assert "single.npz is not a usable .npz file" in refused(capsys, "score", "single.npz")


def test_a_model_whose_record_is_not_the_command_lines_is_named(folder, capsys, tiny_vae):
    """A notebook may save a model with a record of its own."""
    training.save(tiny_vae(), "mine.keras", {"note": "mine"})
    assert "mine.keras" in refused(capsys, "sample", "mine.keras", "-o", "a.npz")
    assert "mine.keras" in refused(capsys, "train", "vae_2d", "--dataset", "digits", "--resume", "-o", "mine.keras")


def test_a_file_to_be_resumed_whose_record_lacks_the_budget_is_refused(folder, capsys, tiny_vae):
    known = {"model": "vae_2d", "dataset": "digits", "class_names": [], "seed": 0, "steps": 1, "seconds": 1.0}
    training.save(tiny_vae(), "mine.keras", known)
    line = refused(capsys, "train", "vae_2d", "--dataset", "digits", "--resume", "-o", "mine.keras")
    assert "that training has profile None, not 'quick'" in line


@pytest.mark.parametrize(
    ("model", "dataset", "message"),
    [
        ("marble_classifier", "digits", "marble_classifier learns from captions, and digits has classes"),
        ("classifier", "captioned_marbles", "classifier learns from classes, and captioned_marbles has captions"),
    ],
)
def test_a_dataset_of_another_kind_is_refused_before_training(folder, capsys, model, dataset, message):
    assert message in refused(capsys, "train", model, "--dataset", dataset, "-o", "a.keras")


def test_a_model_that_is_told_nothing_may_learn_from_pictures_with_captions(folder, capsys):
    assert cli.main(["train", "vae_2d", "--dataset", "captioned_marbles", "--seconds", "1", "-o", "a.keras"]) == 0
    assert "not scored: there are no features for captioned_marbles" in capsys.readouterr().out
    assert cli.main(["sample", "a.keras", "-n", "2", "-o", "a.npz"]) == 0


def test_scoring_against_a_dataset_without_features_is_refused(folder, capsys, digits):
    np.savez("a.npz", images=digits.x_test[:5])
    assert "say nothing about digits" in refused(capsys, "score", "a.npz", "--dataset", "digits")


@pytest.mark.parametrize("arguments", [[], ["paint"], ["train"], ["sample", "gan", "-n", "many", "-o", "a.npz"]])
def test_a_command_that_cannot_be_read_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage: imggen" in capsys.readouterr().err


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond 300 bytes, as on a disk with no room left; only inside, since pytest writes files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A conditional GAN of the digits, trained through the command line for a second."""
    path = tmp_path_factory.mktemp("conditional") / "digits.keras"
    command = ["train", "conditional_gan", "--dataset", "digits", "--seconds", "1", "-o", str(path)]
    assert cli.main(command) == 0
    return path


def test_a_conditional_model_draws_the_class_that_is_asked_for(conditional, folder, capsys):
    for name, label in (("a", "3"), ("b", "3"), ("c", "4")):
        assert cli.main(["sample", str(conditional), "-n", "4", "--label", label, "-o", f"{name}.npz"]) == 0
    a, b, c = (np.load(f"{name}.npz")["images"] for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    np.testing.assert_array_equal(c, training.load(conditional)[0].sample(4, seed=0, labels=4))
    assert cli.main(["sample", str(conditional), "-n", "4", "-o", "all.npz"]) == 0
    assert "--label is 'ten'; expected one of 0, 1" in refused(
        capsys, "sample", conditional, "--label", "ten", "-o", "d.npz"
    )


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """A tiny diffusion model that draws from captions, trained for a moment."""
    from imggen_lib import models

    keras.utils.set_random_seed(0)
    network = models.image_unet((16, 16, 3), num_classes=len(marble_captions.WORDS), filters=(8, 8), blocks=1)
    model = models.Diffusion(network)
    model.compile(optimizer="adam")
    rng = np.random.default_rng(0)
    seen, _ = marble_captions.combinations()
    choices = rng.choice(seen, 32)
    words = marble_captions.encode([marble_captions.caption(choice) for choice in choices])
    model.fit(marble_captions.render(choices, rng=rng, size=16), words, verbose=0)
    for weight in model.average.network.weights:
        weight.assign(weight + 0.05 * keras.random.normal(weight.shape, seed=1))
    path = tmp_path_factory.mktemp("captioned") / "marbles.keras"
    facts = {"model": "marble_diffusion", "dataset": "captioned_marbles", "class_names": marble_captions.WORDS}
    training.save(model, path, {**facts, "seed": 0, "steps": 1, "seconds": 1.0})
    return path


def test_a_model_of_captions_draws_what_is_written(captioned, folder, capsys):
    for name, extra in {
        "a": ["--caption", "a red marble"],
        "b": ["--caption", "a RED marble"],
        "c": ["--caption", "a blue marble"],
        "d": ["--caption", "a red marble", "--guidance", "3"],
        "e": [],
    }.items():
        assert cli.main(["sample", str(captioned), "-n", "2", *extra, "-o", f"{name}.npz"]) == 0
    a, b, c, d, e = (np.load(f"{name}.npz")["images"] for name in "abcde")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any() and (a != d).any() and (a != e).any()
    told = np.repeat(marble_captions.encode("a red marble"), 2, axis=0)
    np.testing.assert_array_equal(d, training.load(captioned)[0].sample(2, seed=0, labels=told, guidance_scale=3))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--caption", "a purple marble"], "'purple', which no picture was described by"),
        (["--caption", "a red green marble"], "tells the colour twice"),
        (["--label", "red"], "write --caption instead of --label"),
        (["--guidance", "-1"], "--guidance"),
    ],
)
def test_what_a_model_of_captions_cannot_draw_is_refused(captioned, folder, capsys, extra, message):
    assert message in refused(capsys, "sample", captioned, *extra, "-o", "a.npz")


def test_only_models_that_know_them_take_captions_and_guidance(conditional, folder, capsys):
    assert "was trained without captions; marble_diffusion draws from them" in refused(
        capsys, "sample", conditional, "--caption", "a red marble", "-o", "a.npz"
    )
    assert "knows no guidance" in refused(capsys, "sample", conditional, "--guidance", "2", "-o", "a.npz")


def test_a_training_that_diverges_ends_in_one_line_and_keeps_what_was_well(folder, capsys, monkeypatch):
    recipe = recipes.get("vae_2d")
    monkeypatch.setitem(recipes._RECIPES, "vae_2d", dataclasses.replace(recipe, learning_rate=1e30))
    assert cli.main(["train", "vae_2d", "--dataset", "digits", "--profile", "quick", "-o", "a.keras"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("imggen: the loss became ") and "Try a lower learning rate" in line and "a.partial.keras" in line
    assert [path.name for path in folder.iterdir()] == ["a.partial.keras"]
    model, record = training.load("a.partial.keras")
    assert record["steps"] == 0 and np.isfinite(model.sample(2, seed=0)).all()


@pytest.mark.parametrize("name", ["a.npz", "a.png"])
def test_a_full_disk_leaves_the_old_file(trained, folder, capsys, monkeypatch, name):
    loaded = training.load(trained)
    monkeypatch.setattr(training, "load", lambda path: loaded)
    (folder / name).write_text("old")
    with full_disk():
        line = refused(capsys, "sample", trained, "-o", name)
    assert "File too large" in line and "make room" in line
    assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_text() == "old"


def test_a_full_disk_does_not_make_a_model_look_damaged(trained, folder, capsys):
    """Keras unpacks what it loads into the temporary folder."""
    with full_disk():
        line = refused(capsys, "sample", trained, "-o", "a.npz")
    assert "damaged" not in line


def test_training_on_a_full_disk_leaves_the_old_file(trained, folder, capsys):
    (folder / "a.keras").write_bytes(trained.read_bytes())
    command = ["train", "vae_2d", "--dataset", "digits", "--seconds", "1", "-o", "a.keras"]
    with full_disk():
        assert cli.main(command) == 1
    assert "\nimggen: a file could not be written" in capsys.readouterr().err.replace("\r", "\n")
    assert [path.name for path in folder.iterdir()] == ["a.keras"]
    assert (folder / "a.keras").read_bytes() == trained.read_bytes()


def test_resume_goes_on_from_a_finished_file(trained, folder):
    (folder / "a.keras").write_bytes(trained.read_bytes())
    before = training.load("a.keras")[1]
    seconds = str(math.ceil(before["seconds"]) + 1)
    command = ["train", "vae_2d", "--dataset", "digits", "--seconds", seconds, "--resume", "-o", "a.keras"]
    assert cli.main(command) == 0
    model, record = training.load("a.keras")
    assert record["steps"] == int(model.optimizer.iterations) > before["steps"]
    assert record["seconds"] >= float(seconds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "1"], "--resume: that training has seed 0, not 1"),
        (["--dataset", "fashion_mnist"], "--resume: that training has dataset 'digits', not 'fashion_mnist'"),
    ],
)
def test_resume_refuses_another_training(trained, capsys, change, message):
    command = ["train", "vae_2d", "--dataset", "digits", "--seconds", "9", "--resume", "-o", trained, *change]
    assert message in refused(capsys, *command)


def test_a_request_to_end_keeps_the_training_and_resume_finishes_it(folder):
    command = ["train", "vae_2d", "--dataset", "digits", "--seconds", "100", "-o", "a.keras"]
    with subprocess.Popen([sys.executable, "-m", "imggen_lib", *command], stderr=subprocess.PIPE) as process:
        try:
            seen = b""
            # The first loss in the progress bar: training has begun.
            while b"loss=" not in seen:
                byte = process.stderr.read(1)
                assert byte, seen.decode()
                seen += byte
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "kept in a.partial.keras; the same command with --resume goes on" in rest.decode()
    assert [path.name for path in folder.iterdir()] == ["a.partial.keras"]
    stopped = training.load("a.partial.keras")[1]
    assert stopped["steps"] > 0

    command[command.index("100")] = str(math.ceil(stopped["seconds"]) + 1)
    assert cli.main([*command, "--resume"]) == 0
    assert [path.name for path in folder.iterdir()] == ["a.keras"]
    assert training.load("a.keras")[1]["steps"] > stopped["steps"]


def test_what_was_trained_is_kept_if_it_cannot_be_scored(folder, capsys, monkeypatch):
    def fail(*arguments):
        raise ValueError("no score")

    monkeypatch.setattr(cli, "_quality", fail)
    assert cli.main(["train", "vae_2d", "--dataset", "digits", "--seconds", "1", "-o", "a.keras"]) == 1
    assert "imggen: no score" in capsys.readouterr().err
    assert training.load("a.partial.keras")[1]["steps"] > 0
