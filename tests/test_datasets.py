import gzip
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pooch
import pytest
import skimage.color
from imggen_lib.data import make_fashion_mnist

from imggen_lib import datasets, io, rendering
from imggen_lib.datasets import fashion_mnist, marble_captions

DATA = Path(make_fashion_mnist.__file__).parent
SIZES = {
    "digits": ((1437, 8, 8, 1), (360, 8, 8, 1), 10),
    "faces": ((160, 25, 25, 1), (40, 25, 25, 1), 2),
    "fashion_mnist": ((10000, 28, 28, 1), (2000, 28, 28, 1), 10),
    "marbles": ((6000, 64, 64, 3), (1200, 64, 64, 3), 6),
    "captioned_marbles": ((8000, 32, 32, 3), (1000, 32, 32, 3), 22),
    "described_marbles": ((8000, 32, 32, 3), (1000, 32, 32, 3), 22),
    "emoji": ((4401, 64, 64, 3), (490, 64, 64, 3), 1171),
    "emoji_32": ((4401, 32, 32, 3), (490, 32, 32, 3), 1171),
}
WITH_CLASSES = ("digits", "faces", "fashion_mnist", "marbles")


def idx(array):
    """Return an array as the content of a gzip-compressed IDX file."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def four_files(tmp_path, monkeypatch):
    """A folder with a Fashion-MNIST of five training and three test images, with the checksums of its own files."""
    folder = tmp_path / "fashion"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte.gz": rng.integers(0, 256, (5, 28, 28)),
        "train-labels-idx1-ubyte.gz": np.array([9, 0, 3, 3, 7]),
        "t10k-images-idx3-ubyte.gz": rng.integers(0, 256, (3, 28, 28)),
        "t10k-labels-idx1-ubyte.gz": np.array([1, 2, 3]),
    }
    checksums = {}
    for name, array in arrays.items():
        (folder / name).write_bytes(idx(array))
        content = gzip.decompress((folder / name).read_bytes())
        checksums[name] = (io.sha256(folder / name), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(fashion_mnist, "FILES", checksums)
    return folder, arrays


@pytest.fixture
def no_copy(tmp_path, monkeypatch):
    """A computer without a copy of Fashion-MNIST and without a network; folders that would hold one are below the path."""

    def no_network(*args, **kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setattr(fashion_mnist, "KERAS_FOLDER", tmp_path / "keras")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(pooch, "retrieve", no_network)
    return tmp_path


@pytest.mark.parametrize("name", SIZES)
def test_datasets_have_the_documented_shapes_ranges_types_and_balance(name):
    data = datasets.load(name)
    train, test, size = SIZES[name]
    assert (data.name, data.x_train.shape, data.x_test.shape) == (name, train, test)
    assert data.image_shape == train[1:] and len(data.class_names) == data.condition.size == size
    assert data.condition.kind == ("classes" if name in WITH_CLASSES else "captions")
    for images, labels in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert images.min() == pytest.approx(0, abs=0.05) and images.max() == pytest.approx(1, abs=0.05)
        assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
        if data.condition.kind == "captions":
            assert labels.dtype == np.float32 and labels.shape == (len(images), size)
            np.testing.assert_array_equal(np.unique(labels), [0, 1])
            continue
        assert labels.dtype == np.int64 and labels.shape == images.shape[:1]
        counts = np.bincount(labels, minlength=size)
        assert counts.min() > 0.9 * counts.mean()


def test_the_classes_of_the_embedded_subset_have_equal_sizes(clothes):
    assert (np.bincount(clothes.y_train) == 1000).all() and (np.bincount(clothes.y_test) == 200).all()


@pytest.mark.parametrize("name", SIZES)
def test_no_test_image_is_a_training_image(name):
    data = datasets.load(name)
    train, test = ({image.tobytes() for image in images} for images in (data.x_train, data.x_test))
    # A few photographs are in both parts of the published dataset.
    assert len(train & test) <= (5 if name == "fashion_mnist" else 0)


def test_first_of_each_class_keeps_the_original_order():
    images, labels = np.arange(8), np.array([1, 0, 1, 1, 0, 0, 2, 2])
    kept, kept_labels = make_fashion_mnist.first_of_each_class(images, labels, 2)
    assert kept.tolist() == [0, 1, 2, 4, 6, 7]
    np.testing.assert_array_equal(kept_labels, labels[kept])


def test_the_record_of_the_embedded_subset_matches_the_files():
    record = json.loads((DATA / "fashion_mnist.json").read_text())
    assert record["made_from"] == {name: content for name, (_, content) in fashion_mnist.FILES.items()}
    assert record["sha256"] == io.sha256(DATA / "fashion_mnist.npz")


def test_the_embedded_subset_is_the_first_of_each_class_of_the_full_dataset(clothes):
    """Runs where Debian's or Keras's folder has a copy of the full dataset; nothing is downloaded."""
    copies = [
        folder
        for folder in (fashion_mnist.DEBIAN_FOLDER, fashion_mnist.KERAS_FOLDER)
        if all((folder / name).is_file() for name in fashion_mnist.FILES)
    ]
    if not copies:
        pytest.skip("no copy of the full dataset on this computer")
    full = datasets.load("fashion_mnist_full", data_dir=copies[0])
    assert full.x_train.shape == (60000, 28, 28, 1) and full.x_test.shape == (10000, 28, 28, 1)
    for part, count in (("train", 1000), ("test", 200)):
        whole = getattr(full, f"x_{part}"), getattr(full, f"y_{part}")
        images, labels = make_fashion_mnist.first_of_each_class(*whole, count)
        np.testing.assert_array_equal(getattr(clothes, f"x_{part}"), images)
        np.testing.assert_array_equal(getattr(clothes, f"y_{part}"), labels)


def test_class_names_match_the_images(digits, clothes):
    """Trousers are bright at the legs and dark between them; the centre is dark in a 0 and bright in a 1."""
    trousers = clothes.x_train[clothes.y_train == clothes.label("trouser")].mean(axis=0)[..., 0]
    assert trousers[20:, 14].mean() < 0.5 * trousers[20:, 10].mean()
    zero, one = (digits.x_train[digits.y_train == digits.label(name)].mean(axis=0)[..., 0] for name in "01")
    assert zero[3:5, 3:5].mean() < 0.3 < 0.7 < one[3:5, 3:5].mean()
    faces = datasets.load("faces")
    assert faces.x_train[faces.y_train == 0].std(axis=0).mean() < faces.x_train[faces.y_train == 1].std(axis=0).mean()


def test_a_condition_encodes_names_and_captions():
    colours = datasets.Condition("classes", ("red", "green", "blue"))
    assert colours.encode("blue").tolist() == [2] and colours.encode(["green", "red"]).tolist() == [1, 0]
    captions = datasets.Condition("captions", marble_captions.WORDS, "marble_captions")
    words = ["red", "blue background"]
    row = [float(word in words) for word in marble_captions.WORDS]
    np.testing.assert_array_equal(captions.encode(["a red marble on a blue background", "a marble"]), [row, [0] * 22])
    nothing = datasets.Condition("none")
    assert nothing.size is None
    with pytest.raises(ValueError, match="this dataset has neither classes nor captions"):
        nothing.encode("red")


@pytest.mark.parametrize("name", SIZES)
def test_a_condition_survives_json(name):
    condition = datasets.load(name).condition
    assert datasets.Condition.from_description(json.loads(json.dumps(condition.describe()))) == condition


def test_an_unknown_class_name_is_rejected_with_the_list_of_classes(digits):
    with pytest.raises(ValueError, match="class is 'ten'; expected one of 0, 1, 2"):
        digits.label("ten")


def test_the_split_is_the_same_in_every_call():
    np.testing.assert_array_equal(datasets.load("faces").x_test, datasets.load("faces").x_test)


def test_marbles_are_rendered_by_hue_and_cached_as_read_only_arrays():
    data = datasets.load("marbles")
    assert datasets.load("marbles").x_train is data.x_train
    assert data.class_names == rendering.HUES and data.y_train[:7].tolist() == [0, 1, 2, 3, 4, 5, 0]
    hues = skimage.color.rgb2hsv(data.x_test[:60, 24:40, 24:40])
    most_saturated = hues[..., 1].reshape(60, -1).argmax(axis=1)
    found = hues[..., 0].reshape(60, -1)[np.arange(60), most_saturated]
    np.testing.assert_array_equal(np.round(found * 6) % 6, data.y_test[:60])
    with pytest.raises(ValueError, match="read-only"):
        data.x_train[0] = 0


def test_an_unknown_dataset_is_rejected_with_the_list_of_names():
    with pytest.raises(ValueError, match="dataset is 'mnist'; expected one of captioned_marbles, composed_emoji"):
        datasets.load("mnist")


@pytest.mark.parametrize("name", datasets.PHOTOGRAPHS)
def test_photographs_are_images_in_the_unit_range(name):
    image = datasets.photograph(name)
    assert image.dtype == np.float32 and image.ndim in (2, 3) and min(image.shape[:2]) > 100
    assert image.min() >= 0 and 0.5 < image.max() <= 1


def test_an_unknown_photograph_is_rejected_with_the_list_of_names():
    with pytest.raises(ValueError, match="photograph is 'lena'; expected one of astronaut"):
        datasets.photograph("lena")


def test_data_dir_is_rejected_for_a_dataset_that_is_not_read_from_a_folder(tmp_path):
    with pytest.raises(ValueError, match="the dataset digits is not read from a folder: leave data_dir out"):
        datasets.load("digits", data_dir=tmp_path)


def test_the_full_dataset_is_read_from_data_dir(four_files):
    folder, arrays = four_files
    data = datasets.load("fashion_mnist_full", data_dir=folder)
    np.testing.assert_array_equal(np.round(data.x_train[..., 0] * 255), arrays["train-images-idx3-ubyte.gz"])
    assert data.y_train.tolist() == [9, 0, 3, 3, 7] and data.y_test.tolist() == [1, 2, 3]


@pytest.mark.parametrize("place", ["IMGGEN_DATA_DIR", "debian", "keras", "cache/imggen_lib"])
def test_the_full_dataset_is_found_in_each_documented_folder(four_files, no_copy, monkeypatch, place):
    if place.isupper():
        monkeypatch.setenv(place, str(four_files[0]))
    else:
        shutil.copytree(four_files[0], no_copy / place)
    assert datasets.load("fashion_mnist_full").x_train.shape == (5, 28, 28, 1)


def test_an_incomplete_data_dir_is_an_error_even_if_another_folder_is_complete(four_files, no_copy):
    shutil.copytree(four_files[0], no_copy / "debian")
    (four_files[0] / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"fashion lacks t10k-labels-idx1-ubyte\.gz; expected the four files"):
        datasets.load("fashion_mnist_full", data_dir=four_files[0])


def test_the_error_of_a_failed_download_names_the_alternatives(no_copy):
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load("fashion_mnist_full")
    for part in ("embedded dataset fashion_mnist", "dataset-fashion-mnist", "IMGGEN_DATA_DIR", "ConnectionError"):
        assert part in str(caught.value)


def test_missing_files_are_downloaded_and_compared_with_the_published_checksum(four_files, no_copy, monkeypatch):
    folder, _ = four_files
    requested = {}

    def download(url, known_hash, *, fname, path, progressbar):
        requested[url] = known_hash
        path.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / fname, path / fname)

    monkeypatch.setattr(pooch, "retrieve", download)
    assert datasets.load("fashion_mnist_full").x_test.shape == (3, 28, 28, 1)
    expected = {fashion_mnist.URL + name: f"sha256:{published}" for name, (published, _) in fashion_mnist.FILES.items()}
    assert requested == expected


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "other"])
def test_a_damaged_file_of_the_full_dataset_is_named(four_files, damage):
    path = four_files[0] / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    other = idx(np.zeros((5, 28, 28)))
    path.write_bytes({"flipped": content, "truncated": content[:100], "empty": b"", "other": other}[damage])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is damaged .*download it again"):
        datasets.load("fashion_mnist_full", data_dir=four_files[0])


def test_a_damaged_embedded_file_is_named(tmp_path, monkeypatch):
    for name in ("fashion_mnist.npz", "fashion_mnist.json"):
        shutil.copy(io.data_path(name), tmp_path / name)
    with open(tmp_path / "fashion_mnist.npz", "r+b") as file:
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 0xFF]))
    monkeypatch.setattr(io, "data_path", tmp_path.joinpath)
    with pytest.raises(ValueError, match=r"fashion_mnist\.npz is damaged.*Install the package again"):
        datasets.load("fashion_mnist")
    (tmp_path / "fashion_mnist.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"fashion_mnist\.npz is missing"):
        datasets.load("fashion_mnist")


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 5)])
def test_read_idx_returns_the_written_array(tmp_path, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    (tmp_path / "a.gz").write_bytes(idx(array))
    np.testing.assert_array_equal(datasets.read_idx(tmp_path / "a.gz"), array)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x0d\1\0\0\0\1\7", b"\0\0\x08\1\0\0\0\5\7", b"hello, world"])
def test_read_idx_names_a_file_of_another_format(tmp_path, content):
    for stored in (content, gzip.compress(content)):
        (tmp_path / "a.gz").write_bytes(stored)
        with pytest.raises(ValueError, match=r"a\.gz is damaged"):
            datasets.read_idx(tmp_path / "a.gz")
