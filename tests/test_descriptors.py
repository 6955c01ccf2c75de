"""Statistics of images: known values, invariances, sizes and errors."""

import numpy as np
import pytest

from imggen_lib import descriptors
from imggen_lib.descriptors import image_statistics


def test_uniform_images_have_the_opponent_colours_and_no_edges():
    colour = np.array([0.9, 0.5, 0.1])
    (found,) = image_statistics(np.ones((1, 16, 24, 3)) * colour)
    assert found.dtype == np.float32 and found.shape == (descriptors.DIMENSION,)
    np.testing.assert_allclose(found[:16], 1.5 / 3**0.5, rtol=1e-5)
    np.testing.assert_allclose(found[16:20], 0.8 / 2**0.5, rtol=1e-5)
    np.testing.assert_allclose(found[20:], 0, atol=2e-3)


def test_grey_images_have_the_statistics_of_equal_channels(rng):
    grey = rng.uniform(size=(3, 30, 20, 1))
    np.testing.assert_allclose(image_statistics(grey), image_statistics(np.repeat(grey, 3, axis=3)), atol=2e-3)


def test_a_ramp_has_the_same_edges_in_every_quarter_and_twice_the_slope_at_half_the_size():
    """A slope of s intensity per pixel, in x: mean differences √3 s in x, none in y, √3 s / √2 along both diagonals."""
    ramp = np.broadcast_to(np.arange(64)[:, np.newaxis] / 64, (1, 64, 64, 1))
    found = image_statistics(ramp)[0, 27:].reshape(4, 24)[:, :16].reshape(4, 4, 4) ** 2
    along_x = 3**0.5 / 64 * 2.0 ** np.arange(4)
    for edges, factor in zip(found.swapaxes(0, 1), (1, 0, 0.5**0.5, 0.5**0.5), strict=True):
        np.testing.assert_allclose(edges, factor * np.repeat(along_x[:, np.newaxis], 4, axis=1), rtol=1e-4, atol=1e-7)


def test_larger_images_are_averaged_before_differences_are_taken(rng):
    """Noise of 640x640 loses 99 % of its variance, and so about 90 % of its differences, at 64x64."""
    large, small = (image_statistics(rng.uniform(size=(1, size, size, 1)))[0, 27:31] ** 2 for size in (640, 64))
    assert (large < 0.11 * small).all()


def test_statistics_do_not_depend_on_the_batch(rng, monkeypatch):
    images = rng.uniform(size=(5, 28, 28, 1))
    together = image_statistics(images)
    monkeypatch.setattr(descriptors, "_BATCH", 2)
    np.testing.assert_allclose(image_statistics(images), together, rtol=1e-5, atol=1e-5)


def test_bad_images_are_named():
    with pytest.raises(ValueError, match="images has 4 channels; expected 1"):
        image_statistics(np.zeros((1, 8, 8, 4)))
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        image_statistics(np.full((1, 8, 8, 1), 2.0))
    with pytest.raises(TypeError, match="uint8"):
        image_statistics(np.zeros((1, 8, 8, 1), np.uint8))
