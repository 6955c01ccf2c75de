"""Captions as rows of word numbers, and scenes that are rendered when they are read."""

import numpy as np
import pytest

from imggen_lib import datasets
from imggen_lib.datasets import captioned_emoji, composed_emoji


@pytest.fixture(scope="module")
def scenes():
    return datasets.load("composed_emoji_32")


def test_rows_hold_the_words_of_every_caption_in_order():
    rng = np.random.default_rng(0)
    for part in composed_emoji.PARTS:
        captions, _ = composed_emoji.sample(40, rng=rng, part=part, size=32)
        rows = captioned_emoji.encode(captions)
        assert rows.shape == (40, captioned_emoji.LENGTH) and rows.dtype == np.float32
        for caption, row in zip(captions, rows, strict=True):
            assert captioned_emoji.decode(row).split() == composed_emoji.words(caption)
            # The text survives up to the comma, which the parser does not need.
            assert composed_emoji.parse(captioned_emoji.decode(row)) == composed_emoji.parse(caption)


def test_unknown_words_are_left_out_with_the_nearest_known_ones():
    with pytest.warns(
        UserWarning, match="the word 'octapus' is unknown and is left out; the nearest known words are octopus"
    ):
        row = captioned_emoji.encode("a purple octapus")[0]
    assert captioned_emoji.decode(row) == "a purple"
    np.testing.assert_array_equal(captioned_emoji.encode("A purple OCTOPUS!"), captioned_emoji.encode("a purple octopus"))


@pytest.mark.parametrize(
    ("caption", "error", "message"),
    [
        ("", ValueError, "the caption '' has no known word"),
        ("!?", ValueError, "has no known word"),
        (7, TypeError, "expected a string"),
        ("a " * 17, ValueError, "has 17 words; expected at most 16"),
    ],
)
def test_bad_captions_are_refused(caption, error, message):
    with pytest.raises(error, match=message):
        captioned_emoji.encode([caption])
    with pytest.raises(ValueError, match="expected 0 to"):
        captioned_emoji.decode([10_000])


def test_scenes_are_the_same_whenever_they_are_read(scenes):
    images = scenes.x_train
    assert images.shape == (40_000, 32, 32, 3) and len(images) == 40_000 and images.ndim == 4
    some = images[[3, 1, 3]]
    np.testing.assert_array_equal(some[0], some[2])
    np.testing.assert_array_equal(images[1], some[1])
    np.testing.assert_array_equal(images[:2], images[np.array([0, 1])])
    assert images[:0].shape == (0, 32, 32, 3) and images[5].dtype == np.float32
    large = datasets.load("composed_emoji").x_train[3]
    np.testing.assert_allclose(large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)), some[0], atol=1e-6)


def test_training_scenes_have_no_held_out_combination_and_test_scenes_have_theirs(scenes):
    assert {composed_emoji.held_out_kinds(item) for item in scenes.x_train.descriptions[:3000]} == {()}
    parts = captioned_emoji.held_out_parts()
    assert len(parts) == len(scenes.x_test) == len(scenes.y_test) == 3000
    for part, description in zip(parts, scenes.x_test.descriptions, strict=True):
        assert composed_emoji.held_out_kinds(description) == (part,)


def test_captions_describe_their_scenes(scenes):
    for row, description in zip(scenes.y_train[:200], scenes.x_train.descriptions, strict=False):
        stated = composed_emoji.parse(captioned_emoji.decode(row))
        assert stated.groups == description.groups and stated.relation == description.relation
        assert stated.style in (None, description.style)


def test_condition_encodes_and_samples_rows(scenes):
    condition = scenes.condition
    assert condition.size == captioned_emoji.LENGTH and condition.kind == "captions"
    np.testing.assert_array_equal(condition.encode("two suns"), captioned_emoji.encode(["two suns"]))
    rows = condition.sample(5, seed=1)
    np.testing.assert_array_equal(rows, condition.sample(5, seed=1))
    for row in rows:
        assert composed_emoji.held_out_kinds(composed_emoji.parse(captioned_emoji.decode(row))) in ((), ("style",))
