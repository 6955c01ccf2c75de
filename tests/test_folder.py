"""Datasets from folders: which files are read, resizing, classes, the cache, near-duplicates, memory."""

import os

import numpy as np
import PIL.Image
import pytest

from imggen_lib import datasets, io
from imggen_lib.datasets import folder as module


def smooth(seed, height=40, width=60, channels=3):
    """A random image without fine detail, which resizing hardly changes."""
    coarse = np.random.default_rng(seed).integers(256, size=(4, 4, channels), dtype=np.uint8)
    image = PIL.Image.fromarray(coarse if channels == 3 else coarse[..., 0])
    return image.resize((width, height), PIL.Image.Resampling.BICUBIC)


@pytest.fixture
def images(tmp_path):
    """A folder with 20 different images."""
    path = tmp_path / "images"
    path.mkdir()
    for seed in range(20):
        smooth(seed).save(path / f"{seed:02d}.png")
    return path


@pytest.fixture
def load(tmp_path, images):
    def load(path=images, **options):
        return datasets.from_folder(path, cache=tmp_path / "cache", **{"size": 16, **options})

    return load


def every_image(data):
    return np.concatenate([data.x_train, data.x_test])


def test_images_are_split_and_nothing_is_written_into_the_folder(images, load):
    before = sorted(images.rglob("*"))
    data = load(test_fraction=0.25)
    assert data.x_train.shape == (15, 16, 16, 3) and data.x_test.shape == (5, 16, 16, 3)
    assert data.x_train.dtype == np.float32 and data.condition == datasets.Condition("none")
    assert data.name == "images (16x16, rgb, crop)"
    assert sorted(images.rglob("*")) == before
    again, other = load(test_fraction=0.25), load(test_fraction=0.25, seed=1)
    np.testing.assert_array_equal(again.x_test, data.x_test)
    assert (other.x_test != data.x_test).any()


def test_mode_and_size_decide_the_shape(load):
    assert load(size=(12, 20), mode="grey").image_shape == (12, 20, 1)


def test_crop_pad_and_resize_keep_what_they_promise(tmp_path, load):
    """A wide image whose left half is black and right half is red."""
    path = tmp_path / "wide"
    path.mkdir()
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = [255, 0, 0]
    PIL.Image.fromarray(pixels).save(path / "a.png")
    PIL.Image.fromarray(255 - pixels).save(path / "b.png")

    def first(fit):
        rows = every_image(load(path, size=8, fit=fit))
        return rows[np.argmin(rows[:, 4, 0].sum(axis=-1) + rows[:, 4, 3].sum(axis=-1))]

    crop, pad, stretched = first("crop"), first("pad"), first("resize")
    for image in (crop, stretched):
        assert image[:, 0].max() < 0.1 and np.allclose(image[:, 7], [1, 0, 0], atol=0.1)
    assert np.allclose(pad[[0, 1, 6, 7]], 1)
    assert pad[3, 0].max() < 0.1 and np.allclose(pad[3, 7], [1, 0, 0], atol=0.1)


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_photographs_are_upright_and_as_the_general_reader_gives_them(tmp_path, load, orientation):
    """Large JPEG files are decoded at a reduced size."""
    path = tmp_path / "photographs"
    path.mkdir()
    exif = PIL.Image.Exif()
    exif[274] = orientation
    for seed in (0, 1):
        smooth(seed, 480, 640).save(path / f"{seed}.jpg", quality=95, exif=exif)
    data = load(path, size=(24, 32), fit="resize")
    for seed in (0, 1):
        pixels = PIL.Image.fromarray(np.round(255 * io.read_image(path / f"{seed}.jpg")).astype(np.uint8))
        expected = np.asarray(pixels.resize((32, 24), PIL.Image.Resampling.LANCZOS)) / 255
        assert np.abs(every_image(data) - expected).mean(axis=(1, 2, 3)).min() < 0.01


def test_subfolders_are_classes_if_every_image_is_in_one(tmp_path, load):
    path = tmp_path / "classes"
    for label, name in enumerate(("ants", "bees")):
        (path / name / "deeper").mkdir(parents=True)
        for seed in range(4):
            smooth(10 * label + seed).save(path / name / "deeper" / f"{seed}.png")
    data = load(path, test_fraction=0.25)
    assert data.condition == datasets.Condition("classes", ("ants", "bees"))
    assert sorted(np.concatenate([data.y_train, data.y_test])) == [0] * 4 + [1] * 4
    expected = np.asarray(PIL.ImageOps.fit(smooth(2), (16, 16), PIL.Image.Resampling.LANCZOS)) / 255
    distances = np.abs(every_image(data) - expected).mean(axis=(1, 2, 3))
    assert np.concatenate([data.y_train, data.y_test])[distances.argmin()] == 0
    assert load(path, classes=None).condition.kind == "none"
    smooth(99).save(path / "loose.png")
    assert load(path).condition.kind == "none"


def test_other_files_are_ignored_and_unreadable_ones_are_listed_once(images, load):
    (images / "notes.txt").write_text("not an image")
    (images / ".DS_Store").write_bytes(b"\0")
    (images / ".thumbnails").mkdir()
    smooth(50).save(images / ".thumbnails" / "small.png")
    (images / "broken.png").write_bytes((images / "00.png").read_bytes()[:100])
    (images / "page.jpg").write_text("<html>")
    message = r"2 of 22 files could not be read: broken\.png \(.*\); page\.jpg \(.*\)"
    with pytest.warns(UserWarning, match=message) as caught:
        data = load()
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert len(data.x_train) + len(data.x_test) == 20


def test_second_call_reads_only_new_and_changed_files(images, load, monkeypatch):
    first = load()
    read, seen = module._read, []
    monkeypatch.setattr(module, "_read", lambda file, *rest: seen.append(file.name) or read(file, *rest))
    np.testing.assert_array_equal(load().x_train, first.x_train)
    assert seen == []
    smooth(77).save(images / "05.png")
    os.utime(images / "05.png", ns=(1, 1))
    smooth(78).save(images / "new.png")
    (images / "06.png").unlink()
    data = load()
    assert sorted(seen) == ["05.png", "new.png"] and len(every_image(data)) == 20
    for seed in (77, 78, 4):
        expected = np.asarray(PIL.ImageOps.fit(smooth(seed), (16, 16), PIL.Image.Resampling.LANCZOS)) / 255
        assert np.abs(every_image(data) - expected).max(axis=(1, 2, 3)).min() < 0.01


def test_damaged_cache_is_made_again(tmp_path, load):
    expected = load().x_train
    for file in (tmp_path / "cache").rglob("images.npy"):
        file.write_bytes(file.read_bytes()[:50])
    np.testing.assert_array_equal(load().x_train, expected)


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_are_on_one_side_of_the_split(images, load, seed):
    for number in range(0, 20, 2):
        image = PIL.Image.open(images / f"{number:02d}.png")
        image.save(images / f"{number:02d}-again.jpg", quality=70)
        image.resize((45, 30)).save(images / f"{number:02d}-small.png")
    data = load(test_fraction=0.3, seed=seed)
    assert len(data.x_test) >= 12 and len(data.x_train) + len(data.x_test) == 40
    distances = np.abs(data.x_test[:, np.newaxis] - data.x_train).mean(axis=(2, 3, 4))
    assert distances.min() > 0.04


def test_images_beyond_the_memory_budget_are_read_when_they_are_indexed(load, monkeypatch):
    expected = load()
    monkeypatch.setattr(module, "MEMORY_BUDGET", 1000)
    data = load()
    assert isinstance(data.x_train, datasets.folder.StoredImages)
    assert len(data.x_train) == 18 and data.x_train.shape == expected.x_train.shape and data.x_train.ndim == 4
    np.testing.assert_array_equal(np.asarray(data.x_train), expected.x_train)
    for index in ([3, 1], slice(2, 5), 7, np.array([0])):
        np.testing.assert_array_equal(data.x_train[index], expected.x_train[index])


def test_bad_arguments_are_named(tmp_path, images, load):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        load(tmp_path / "nowhere")
    for options, message in (
        ({"size": 0}, "size is 0"),
        ({"size": (1, 2, 3)}, "expected two whole numbers"),
        ({"mode": "cmyk"}, "mode is 'cmyk'; expected one of rgb, grey"),
        ({"fit": "squeeze"}, "fit is 'squeeze'"),
        ({"classes": "names"}, "classes is 'names'"),
        ({"test_fraction": 1.0}, "test_fraction is 1"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            load(**options)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="empty has 0 readable images, of 0 files; expected at least 2"):
        load(empty)
    for copy in ("a.png", "b.png"):
        smooth(1).save(empty / copy)
    with pytest.raises(ValueError, match="all images are near-duplicates"):
        load(empty)
