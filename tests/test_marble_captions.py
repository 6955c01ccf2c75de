"""Captions: what is written can be read, told and rendered; what cannot be read is answered in words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imggen_lib import datasets
from imggen_lib.datasets import marble_captions

PARTS = st.fixed_dictionaries({}, optional={name: st.sampled_from(words) for name, words in marble_captions.FACTORS.items()})
CHOICES = st.tuples(*(st.integers(0, count - 1) for count in marble_captions.COUNTS))


@given(PARTS)
def test_what_is_written_is_read_again(told):
    assert marble_captions.read(marble_captions.write(told)) == told


@given(CHOICES)
def test_what_is_encoded_is_decoded_again(choice):
    numbers = marble_captions.encode(marble_captions.caption(choice))
    assert numbers.sum() == 5
    assert tuple(marble_captions.decode(numbers)[0]) == choice


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("", {}),
        ("a marble", {}),
        ("RED", {"colour": "red"}),
        ("a striped, red, large marble", {"texture": "striped", "colour": "red", "size": "large"}),
        ("a red marble on a red ground", {"colour": "red", "ground": "red"}),
        ("on a grey ground", {"ground": "grey"}),
        ("a marble lit from the top on a green ground", {"light": "top", "ground": "green"}),
    ],
)
def test_captions_may_be_short_and_in_another_order(caption, told):
    assert marble_captions.read(caption) == told


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("a purpel marble", r"has the word 'purpel', which no picture was described by; (did you mean|known are)"),
        ("a smal marble", "did you mean 'small'"),
        ("ein Elefant", "'ein'"),
        ("a red blue marble", "tells the colour twice: red and blue"),
        ("a grey marble", "says 'grey', which only the ground can be"),
        ("a marble on a striped ground", "says 'striped' of the ground, which can only be"),
        ("a red marble 3", "'3'"),
    ],
)
def test_what_cannot_be_read_is_answered_in_words(caption, message):
    with pytest.raises(ValueError, match=message):
        marble_captions.read(caption)


def test_captions_are_words():
    with pytest.raises(TypeError, match="the caption is 7; expected words"):
        marble_captions.read(7)
    with pytest.raises(ValueError, match="colour is 'grey'; expected one of red"):
        marble_captions.write({"colour": "grey"})
    with pytest.raises(ValueError, match="factor is 'hue'"):
        marble_captions.write({"hue": "red"})
    with pytest.raises(ValueError, match=r"shape \(2, 3\); expected rows of 22"):
        marble_captions.decode(np.zeros((2, 3)))


def test_seen_and_held_out_combinations_are_all_there_are_once():
    seen, held_out = marble_captions.combinations()
    every = {tuple(choice) for choice in np.concatenate([seen, held_out])}
    assert len(every) == len(seen) + len(held_out) == np.prod(marble_captions.COUNTS) == 1008
    # Each single word, and each pair of words of two factors, is seen: only their combinations are new.
    for first in range(5):
        for second in range(first):
            assert len(np.unique(seen[:, [first, second]], axis=0)) == marble_captions.COUNTS[first] * marble_captions.COUNTS[second]


def test_pictures_show_what_their_captions_tell():
    """By what follows from the law of light alone: no network is asked."""
    seen, _ = marble_captions.combinations()
    choices = seen[:300]
    images = marble_captions.render(choices, rng=0)
    assert images.shape == (300, 64, 64, 3) and images.min() >= 0 and images.max() <= 1
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1)  # one at least is in no shadow
    saturated = np.ptp(corners, axis=-1) > 0.1
    np.testing.assert_array_equal(saturated, choices[:, 3] > 0)
    # The shadow lies where the light does not come from.
    grey = images.mean(axis=-1)
    edges = {"left": grey[:, :, 0], "right": grey[:, :, -1], "top": grey[:, 0], "bottom": grey[:, -1]}
    means = {name: edge.mean(axis=1) for name, edge in edges.items()}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    light = np.array(marble_captions.FACTORS["light"])[choices[:, 4]]
    brighter = [means[side][i] >= means[opposite[side]][i] - 1e-6 for i, side in enumerate(light)]
    assert all(brighter)
    # A large marble covers more of the middle than a small one: the ring between them is table, or marble.
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    ring = (np.hypot(x, y) > 0.45) & (np.hypot(x, y) < 0.53)
    rough = images[:, ring].std(axis=1).mean(axis=-1)
    assert rough[choices[:, 0] == 1].mean() > rough[choices[:, 0] == 0].mean()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([[0, 0, 0, 0]], "rows of 5"),
        ([[0, 0, 0, 0, 4]], "an index that there is not"),
        ([[-1, 0, 0, 0, 0]], "an index that there is not"),
        ([[0.5, 0, 0, 0, 0]], "float64; expected whole numbers"),
    ],
)
def test_impossible_choices_are_refused(choices, message):
    with pytest.raises((ValueError, TypeError), match=message):
        marble_captions.render(choices, rng=0)
    with pytest.raises((ValueError, TypeError), match=message):
        marble_captions.caption(choices[0])


def test_held_out_combinations_are_in_no_training_picture():
    data = datasets.load("captioned_marbles")
    held_out = {tuple(choice) for choice in marble_captions.combinations()[1]}
    whole = data.y_train.sum(axis=1) == 5
    assert not held_out & {tuple(choice) for choice in marble_captions.decode(data.y_train[whole])}
    assert held_out & {tuple(choice) for choice in marble_captions.decode(data.y_test)}
    left_out = 1 - data.y_train.sum() / (5 * len(data.y_train))
    assert left_out == pytest.approx(datasets.LEFT_OUT, abs=0.01)
