"""The command line: what it prints and writes, and its one-line errors."""

import contextlib
import re
import resource
import signal
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest

from imggen_lib import __version__, cli, datasets, pretrained, recipes, training
from imggen_lib.datasets import captioned_emoji, composed_emoji, marble_captions
from imggen_lib.training.estimates import readable_time

pytestmark = pytest.mark.usefixtures("few_evaluated_images")

TRAIN = ["train", "vae_2d", "--dataset", "digits", "--num-steps", "20", "--batch-size", "8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small unconditional model of digits, trained through the command line."""
    path = tmp_path_factory.mktemp("trained") / "digits.keras"
    assert cli.main([*TRAIN, "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A conditional GAN of digits, trained through the command line and stored as weights alone."""
    path = tmp_path_factory.mktemp("conditional") / "digits.npz"
    command = ["train", "conditional_gan", "--dataset", "digits", "--num-steps", "2", "--set", "latent_dim=5"]
    assert cli.main([*command, "-o", str(path)]) == 0
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, so that file names in commands are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def error_line(capsys, *arguments):
    """Run a command that must fail, and return the one line that it prints."""
    capsys.readouterr()
    assert cli.main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("imggen: ")
    return line


def test_list_names_every_model_and_dataset_without_loading_keras(capsys):
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in recipes.names():
        assert name in printed and recipes.get(name).summary in printed
    for name in pretrained.names():
        assert pretrained.record(name)["quality"] in printed
    assert printed.count("no shipped weights") == len(recipes.names()) - len(pretrained.names())
    for name in datasets.names():
        assert f"  {name}\n" in printed
    program = "import sys; from imggen_lib import cli; cli.main(['list']); print('keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout.splitlines()[-1], run.stderr) == ("False", "")


def test_version_and_module_entry_point():
    run = subprocess.run([sys.executable, "-m", "imggen_lib", "--version"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"imggen {__version__}\n", "")


def test_estimate_prints_each_model_and_the_total(capsys, monkeypatch):
    measured = {"vae": 0.5, "gan": 2.0}

    def duration(recipe, *, profile):
        return training.Duration(recipe.name, recipe.budget(profile).num_steps, 10, 1.0, measured[recipe.name])

    monkeypatch.setattr(training, "duration", duration, raising=False)
    seconds = sum(1 + (recipes.get(name).full.num_steps - 2) * measured[name] for name in measured)
    assert cli.main(["estimate", "vae", "gan", "--profile", "full"]) == 0
    first, second, total = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"vae: [\d,]+ steps of 0\.5 s, about [\d.]+ (min|h)", first)
    assert re.fullmatch(r"gan: [\d,]+ steps of 2 s, about [\d.]+ (min|h)", second)
    assert total.startswith(f"total: about {readable_time(seconds)}")
    assert "profile is 'fast'" in error_line(capsys, "estimate", "--profile", "fast")
    monkeypatch.setattr(pretrained, "names", lambda: ("gan",))
    assert cli.main(["estimate"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_duration_measures_compiled_steps(digits):
    recipe = recipes.get("vae_2d")
    found = training.duration(recipe, dataset=digits, profile="full", num_steps=3)
    assert (found.model, found.num_steps, found.measured_steps) == ("vae_2d", recipe.full.num_steps, 3)
    assert 0 < found.seconds_per_step < found.first_seconds  # the first two steps are compiled
    assert found.seconds == found.first_seconds + (recipe.full.num_steps - 2) * found.seconds_per_step
    hurried = training.duration(recipe, dataset=digits, num_steps=100, seconds=0.01)
    assert hurried.measured_steps == 1


def test_train_writes_the_model_and_prints_its_quality(trained, conditional):
    assert [path.name for path in trained.parent.iterdir()] == ["digits.keras"]
    assert pretrained.record(trained)["settings"] == {"num_steps": 20, "batch_size": 8}
    assert sorted(path.name for path in conditional.parent.iterdir()) == ["digits.json", "digits.npz"]
    assert pretrained.load(conditional).latent_dim == 5


def test_sample_writes_the_images_of_the_seed(trained, folder, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli.main(["sample", str(trained), "-n", "5", "--seed", str(seed), "-o", f"{name}.npz"]) == 0
        assert capsys.readouterr().out == f"{name}.npz: 5 images of {trained}, seed {seed}\n"
    a, b, c = (np.load(f"{name}.npz")["images"] for name in "abc")
    assert a.shape == (5, 8, 8, 1) and a.dtype == np.float32
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    np.testing.assert_array_equal(a, pretrained.load(trained).sample(5, seed=1))


def test_sample_writes_a_png_with_the_images_in_a_square(trained, folder):
    assert cli.main(["sample", str(trained), "-n", "4", "-o", "a.png"]) == 0
    sheet, images = np.asarray(PIL.Image.open("a.png")), pretrained.load(trained).sample(4, seed=0)
    assert sheet.shape == (22, 22)
    np.testing.assert_array_equal(sheet[2:10, 12:20], np.round(images[1, ..., 0] * 255))


def test_sample_of_a_conditional_model_takes_the_name_of_a_class(conditional, folder, capsys):
    assert cli.main(["sample", str(conditional), "-n", "4", "--label", "4", "-o", "a.npz"]) == 0
    expected = pretrained.load(conditional).sample(4, seed=0, labels=4)
    np.testing.assert_array_equal(np.load("a.npz")["images"], expected)
    assert cli.main(["sample", str(conditional), "-n", "4", "-o", "b.npz"]) == 0
    np.testing.assert_array_equal(np.load("b.npz")["images"], pretrained.load(conditional).sample(4, seed=0))
    for extra, message in (
        (["--label", "ten"], "class is 'ten'; expected one of 0, 1"),
        (["--caption", "a red marble"], "is conditioned on classes; use --label"),
        (["--guidance-scale", "2"], "diffusion, flow and token models do"),
    ):
        assert message in error_line(capsys, "sample", conditional, *extra, "-o", "c.npz")


def test_score_of_images_and_of_a_model(folder, capsys):
    assert cli.main(["sample", "gan", "-n", "500", "-o", "a.npz"]) == 0
    capsys.readouterr()
    assert cli.main(["score", "a.npz"]) == 0
    captured = capsys.readouterr()
    first, second, *others = captured.out.splitlines()
    assert captured.err == ""
    found = re.fullmatch(
        r"Fréchet distance ([\d.]+) at n = 500 \(as many real images: ([\d.]+)\), "
        "against 2,000 test images of fashion_mnist",
        first,
    )
    assert 0 < float(found[2]) < float(found[1]) < 10 * float(found[2])
    found = re.fullmatch(r"kernel distance (\S+) \(as many real images: (\S+)\), features fashion_mnist", second)
    assert float(found[1]) > float(found[2])
    rows = [re.fullmatch(r"([a-z ]+) (-?[\d.]+) \(as many real images: (-?[\d.]+)\)", line).groups() for line in others]
    values = {name: (float(value), float(real)) for name, value, real in rows}
    assert list(values) == ["precision", "recall", "density", "coverage"]
    for name in ("recall", "coverage"):
        assert 0.1 < values[name][0] < values[name][1] < 1


def test_score_of_a_model_is_that_of_its_samples(folder, capsys, monkeypatch):
    monkeypatch.setattr("imggen_lib.evaluation.NUM_IMAGES", 20)
    assert cli.main(["score", "vae_2d"]) == 0
    of_model = capsys.readouterr()
    np.savez("a.npz", images=pretrained.load("vae_2d").sample(20, seed=0))
    assert cli.main(["score", "a.npz"]) == 0
    assert capsys.readouterr() == of_model
    assert of_model.err == (
        "imggen: warning: this score is unreliable: 20 different images are too few, expected at least 500\n"
    )


def test_score_of_very_few_images_leaves_out_the_measures_with_neighbours(folder, capsys, clothes):
    np.savez("few.npz", images=clothes.x_train[:5])
    assert cli.main(["score", "few.npz"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_score_takes_the_features_by_name_and_a_dataset_of_other_images(folder, capsys, digits):
    np.savez("a.npz", images=digits.x_train[:20])
    assert cli.main(["score", "a.npz", "--against", "digits"]) == 0
    printed = capsys.readouterr().out
    assert "test images of digits" in printed and "features image_statistics" in printed
    assert cli.main(["score", "a.npz", "--dataset", "digits", "--features", "image_statistics"]) == 0
    assert capsys.readouterr().out == printed
    assert "features is 'vgg'" in error_line(capsys, "score", "a.npz", "--against", "digits", "--features", "vgg")


@pytest.fixture
def from_folder(monkeypatch, rng):
    """Replace ``datasets.from_folder`` by random images of the requested shape; the calls are recorded."""
    calls = []

    def stand_in(path, *, size, mode, test_fraction):
        calls.append((path, tuple(size), mode, test_fraction))
        images = rng.uniform(size=(40, *size, 1 if mode == "grey" else 3)).astype(np.float32)
        labels = np.zeros(20, np.int64)
        return datasets.Dataset(path, images[:20], labels, images[20:], labels, datasets.Condition("none"))

    monkeypatch.setattr(datasets, "from_folder", stand_in, raising=False)
    return calls


def test_score_reads_a_folder_of_real_images_at_the_size_of_the_images(folder, capsys, from_folder):
    (folder / "real").mkdir()
    np.savez("a.npz", images=np.random.default_rng(1).uniform(size=(10, 20, 30, 3)))
    assert cli.main(["score", "a.npz", "--against", "real"]) == 0
    assert from_folder == [("real", (20, 30), "rgb", 0.5)]
    assert "at n = 10 " in (printed := capsys.readouterr().out) and "against 20 test images of real" in printed


def test_score_reads_a_folder_of_images_at_the_size_of_the_dataset(folder, capsys, from_folder):
    (folder / "made").mkdir()
    (folder / "real").mkdir()
    assert cli.main(["score", "made", "--against", "fashion_mnist"]) == 0
    assert "at n = 40 " in capsys.readouterr().out
    assert cli.main(["score", "made", "--against", "real"]) == 0
    expected = [("made", (28, 28), "grey", 0.5), ("real", (64, 64), "rgb", 0.5), ("made", (64, 64), "rgb", 0.5)]
    assert from_folder == expected


def test_score_of_other_images_needs_the_name_of_the_real_ones(folder, capsys):
    (folder / "made").mkdir()
    np.savez("a.npz", images=np.zeros((3, 32, 32, 3)))
    assert "made is a folder: name the real images with --against" in error_line(capsys, "score", "made")
    assert "the images have the shape (32, 32, 3): name the real images" in error_line(capsys, "score", "a.npz")
    (folder / "real").mkdir()
    np.savez("b.npz", images=np.zeros((3, 32, 32)))
    assert "expected (height, width, 1) or" in error_line(capsys, "score", "b.npz", "--against", "real")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train dall-e -o a.keras", "model is 'dall-e'; expected one of autoencoder, classifier"),
        ("train gan --seconds nan -o a.keras", "seconds is nan"),
        ("train gan --set latent_dim -o a.keras", "--set is 'latent_dim'; expected KEY=VALUE"),
        ("train gan --set depth=3 -o a.keras", "setting of gan is 'depth'; expected one of batch_size"),
        ("train gan --set loss=mse -o a.keras", "loss is 'mse'"),
        ("sample dall-e -o a.npz", "'dall-e' is not a shipped model"),
        ("sample classifier -o a.npz", "classifier does not generate images"),
        ("sample missing.keras -o a.npz", "there is no file missing.keras"),
        ("sample TRAINED -o a.jpg", "expected a name that ends in .npz or .png"),
        ("sample TRAINED -o nowhere/a.npz", "the folder nowhere does not exist"),
        ("sample TRAINED -n 0 -o a.npz", "-n is 0"),
        ("sample TRAINED -n 1000000000000000 -o a.npz", "memory"),
        ("sample TRAINED --seed -1 -o a.npz", "--seed is -1"),
        ("sample TRAINED --label 3 -o a.npz", "was trained without labels"),
        ("sample TRAINED --guidance-scale 2 -o a.npz", "does not support --guidance-scale"),
        ("score missing.npz", "there is no file missing.npz"),
        ("score classifier", "classifier does not generate images"),
        ("score vae_2d --dataset mnist", "--against is 'mnist'; expected a folder of images, or one of captioned_marbles"),
    ],
)
def test_bad_command_prints_one_line_and_writes_nothing(trained, folder, capsys, arguments, message):
    arguments = [trained if argument == "TRAINED" else argument for argument in arguments.split()]
    assert message in error_line(capsys, *arguments)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["paint"], ["train"], ["sample", "gan", "-n", "many", "-o", "a.npz"]])
def test_command_that_cannot_be_parsed_exits_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage: imggen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 28, 28))}, "images have the shape (28, 28)"),
        ({"images": np.full((3, 28, 28, 1), 1.5)}, "expected [0, 1]"),
        ({"pictures": np.zeros((3, 28, 28, 1))}, "a.npz"),
        ({"images": np.array([None])}, "not a usable .npz file"),
    ],
)
def test_images_that_cannot_be_scored_are_named(folder, capsys, arrays, message):
    np.savez("a.npz", **arrays)
    assert message in error_line(capsys, "score", "a.npz")


def test_damaged_files_are_named(trained, folder, capsys, clothes):
    np.savez_compressed("whole.npz", images=clothes.x_test[:5])
    content = (folder / "whole.npz").read_bytes()
    (folder / "half.npz").write_bytes(content[: len(content) // 2])
    assert "half.npz is not a usable .npz file" in error_line(capsys, "score", "half.npz")
    (folder / "half.keras").write_bytes(trained.read_bytes()[:5000])
    assert "half.keras is damaged" in error_line(capsys, "sample", "half.keras", "-o", "a.npz")


def test_keras_file_without_a_record_can_be_sampled(folder, tiny_vae):
    tiny_vae().save("mine.keras")
    assert cli.main(["sample", "mine.keras", "-n", "2", "-o", "a.npz"]) == 0
    np.testing.assert_array_equal(np.load("a.npz")["images"], tiny_vae().sample(2, seed=0))


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """A tiny diffusion model conditioned on captions, with weights that depend on them."""
    from imggen_lib import models

    keras.utils.set_random_seed(0)
    network = models.image_unet((8, 8, 3), num_classes=len(marble_captions.WORDS), filters=(8,), blocks=1)
    model = models.Diffusion(network, num_classes=len(marble_captions.WORDS))
    for weight in model.average.network.weights:
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape, seed=1))
    path = tmp_path_factory.mktemp("captioned") / "marbles.keras"
    condition = datasets.Condition("captions", marble_captions.WORDS, "marble_captions")
    pretrained.save(model, path, {"condition": condition.describe()})
    return path


def test_sample_of_a_caption_model_takes_a_caption_and_a_guidance_scale(captioned, folder, capsys):
    commands = {
        "a": ["--caption", "a red marble"],
        "b": ["--caption", "a RED marble"],
        "c": ["--caption", "a blue marble"],
        "d": ["--caption", "a red marble", "--guidance-scale", "3"],
        "e": [],
    }
    for name, extra in commands.items():
        assert cli.main(["sample", str(captioned), "-n", "2", *extra, "-o", f"{name}.npz"]) == 0
    a, b, c, d, e = (np.load(f"{name}.npz")["images"] for name in "abcde")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any() and (a != d).any() and (a != e).any()
    rows = np.repeat(marble_captions.encode("a red marble"), 2, axis=0)
    for images, scale in ((a, 2), (d, 3)):
        expected = pretrained.load(captioned).sample(2, seed=0, labels=rows, guidance_scale=scale)
        np.testing.assert_array_equal(images, expected)
    for extra, message in (
        (["--caption", "a purple marble"], "'purple'"),
        (["--label", "red"], "is conditioned on captions; use --caption"),
        (["--guidance-scale", "-1"], "guidance_scale is -1"),
        (["--caption", "a red marble", "--style", "noto"], "--style is for models of emoji"),
    ):
        assert message in error_line(capsys, "sample", captioned, *extra, "-o", "f.npz")


def test_sample_of_an_emoji_model_takes_a_style_and_warns_of_unknown_words(tmp_path, folder, capsys):
    from imggen_lib import models

    keras.utils.set_random_seed(0)
    size = captioned_emoji.LENGTH
    network = models.image_transformer(
        (8, 8, 3), num_classes=size, vocabulary_size=len(composed_emoji.VOCABULARY), width=8, depth=1, heads=2, text_depth=1
    )
    model = models.RectifiedFlow(network, num_classes=size)
    for weight in model.average.network.weights:
        weight.assign(weight + 0.2 * keras.random.normal(weight.shape, seed=1))
    condition = datasets.Condition("captions", ("word",) * size, "captioned_emoji")
    path = tmp_path / "emoji.keras"
    pretrained.save(model, path, {"condition": condition.describe()})
    octopus = ["--caption", "a purple octopus"]
    assert cli.main(["sample", str(path), "-n", "2", *octopus, "--style", "noto", "-o", "a.npz"]) == 0
    rows = np.repeat(captioned_emoji.encode("a purple octopus, noto style"), 2, axis=0)
    expected = pretrained.load(path).sample(2, seed=0, labels=rows, guidance_scale=2)
    np.testing.assert_array_equal(np.load("a.npz")["images"], expected)
    assert cli.main(["sample", str(path), "-n", "2", "--caption", "a purple octapus", "-o", "b.npz"]) == 0
    warning = capsys.readouterr().err
    assert "the word 'octapus' is unknown and is left out" in warning and "octopus" in warning
    for extra, message in (
        (["--style", "noto"], "--style is given without --caption"),
        ([*octopus, "--style", "cubist"], "style is 'cubist'; expected one of fluent, noto"),
        (["--caption", ""], "the caption '' has no known word"),
    ):
        assert message in error_line(capsys, "sample", path, *extra, "-o", "f.npz")


@contextlib.contextmanager
def full_disk():
    """Limit files to 300 bytes, as on a disk without space; only inside, because pytest writes files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["a.npz", "a.png"])
def test_full_disk_leaves_the_old_file(folder, capsys, monkeypatch, name, tiny_vae):
    loaded = tiny_vae()
    monkeypatch.setattr(pretrained, "load", lambda path: loaded)
    (folder / name).write_text("old")
    with full_disk():
        line = error_line(capsys, "sample", "vae", "-o", name)
    assert "File too large" in line and "no existing file was changed" in line
    assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_text() == "old"


def test_full_disk_is_not_reported_as_a_damaged_model(trained, folder, capsys):
    """Keras unpacks what it loads into the temporary folder."""
    with full_disk():
        line = error_line(capsys, "sample", trained, "-o", "a.npz")
    assert "damaged" not in line


def test_training_on_a_full_disk_leaves_the_old_file(trained, folder, capsys):
    (folder / "a.keras").write_bytes(trained.read_bytes())
    with full_disk():
        assert cli.main([*TRAIN, "-o", "a.keras"]) == 1
    assert "imggen: a file could not be read or written" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in folder.iterdir()] == ["a.keras"]
    assert (folder / "a.keras").read_bytes() == trained.read_bytes()


def test_sigterm_keeps_the_state_and_resume_finishes_the_run(folder):
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
    assert "the same command with --resume continues" in rest.decode()
    assert [path.name for path in folder.iterdir()] == ["a.partial.keras"]
    stopped = pretrained.record("a.partial.keras")
    assert stopped["steps"] > 0

    command[command.index("100")] = str(int(stopped["seconds"]) + 2)
    assert cli.main([*command, "--resume"]) == 0
    assert [path.name for path in folder.iterdir()] == ["a.keras"]
    assert pretrained.record("a.keras")["steps"] > stopped["steps"]
