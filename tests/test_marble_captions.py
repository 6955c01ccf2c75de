"""Captions of marbles: grammar, encoding, and rendered images that show what a caption states."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imggen_lib import datasets
from imggen_lib.datasets import marble_captions, marbles

ATTRIBUTES = st.fixed_dictionaries(
    {}, optional={factor: st.sampled_from(words) for factor, words in marble_captions.FACTORS.items()}
)
CHOICES = st.tuples(*(st.integers(0, count - 1) for count in marble_captions.COUNTS))


@given(ATTRIBUTES)
def test_parse_inverts_compose(attributes):
    assert marble_captions.parse(marble_captions.compose(attributes)) == attributes


@given(CHOICES)
def test_decode_inverts_encode(choice):
    encoded = marble_captions.encode(marble_captions.from_choice(choice))
    assert encoded.sum() == 5
    assert tuple(marble_captions.decode(encoded)[0]) == choice


def test_the_order_of_the_encoded_values_is_fixed():
    """The weights of the shipped models depend on it."""
    colours = ["red", "yellow", "green", "cyan", "blue", "magenta"]
    assert list(marble_captions.WORDS) == [
        *("small", "large"),
        *colours,
        *("plain", "striped", "veined"),
        *(f"{colour} background" for colour in ["grey", *colours]),
        *(f"from the {side}" for side in ("left", "right", "top", "bottom")),
    ]
    caption = "a large red striped marble on a blue background, lit from the left"
    assert marble_captions.encode(caption)[0].nonzero()[0].tolist() == [1, 2, 9, 16, 18]


@pytest.mark.parametrize(
    ("caption", "attributes"),
    [
        ("", {}),
        ("a marble", {}),
        ("RED", {"colour": "red"}),
        ("a striped, red, large marble", {"texture": "striped", "colour": "red", "size": "large"}),
        ("a red marble on a red background", {"colour": "red", "background": "red"}),
        ("on a grey background", {"background": "grey"}),
        ("a marble lit from the top on a green background", {"light": "top", "background": "green"}),
    ],
)
def test_captions_may_be_incomplete_and_in_another_order(caption, attributes):
    assert marble_captions.parse(caption) == attributes


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("a purpel marble", "contains the unknown word 'purpel'; known words are small, large, red"),
        ("a smal marble", "did you mean 'small'"),
        ("ein Elefant", "'ein'"),
        ("a red marble on a blue ground", "unknown word 'ground'; did you mean 'background'"),
        ("a red blue marble", "states the colour twice: red and blue"),
        ("a grey marble", "says 'grey' of the marble, but only the background can be grey: write 'on a grey background'"),
        ("a marble on a striped background", "says 'striped' of the background, which can only be grey, red"),
        ("a red marble 3", "'3'"),
    ],
)
def test_parse_explains_what_it_cannot_parse(caption, message):
    with pytest.raises(ValueError, match=message):
        marble_captions.parse(caption)


def test_invalid_arguments_are_named():
    with pytest.raises(TypeError, match="the caption is 7; expected a string, such as 'a red marble'"):
        marble_captions.parse(7)
    with pytest.raises(ValueError, match="colour is 'grey'; expected one of red"):
        marble_captions.compose({"colour": "grey"})
    with pytest.raises(ValueError, match="factor is 'hue'; expected one of size, colour, texture, background, light"):
        marble_captions.compose({"hue": "red"})
    with pytest.raises(ValueError, match=r"shape \(2, 3\); expected \(n, 22\)"):
        marble_captions.decode(np.zeros((2, 3)))


def test_seen_and_held_out_combinations_are_a_partition_of_all():
    seen, held_out = marble_captions.combinations()
    every = {tuple(choice) for choice in np.concatenate([seen, held_out])}
    assert len(every) == len(seen) + len(held_out) == np.prod(marble_captions.COUNTS) == 1008
    # Every pair of words of two factors is seen, and so is every single word: only their combinations are new.
    counts = marble_captions.COUNTS
    for first in range(5):
        for second in range(first):
            assert len(np.unique(seen[:, [first, second]], axis=0)) == counts[first] * counts[second]


def test_rendered_images_show_what_their_captions_state():
    """Background, light and size are measured in the pixels, without a network."""
    seen, _ = marble_captions.combinations()
    choices = seen[:300]
    images = marble_captions.render(choices, rng=0)
    assert images.shape == (300, 64, 64, 3) and images.min() >= 0 and images.max() <= 1
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1)  # at least one is outside the shadow
    saturated = np.ptp(corners, axis=-1) > 0.1
    np.testing.assert_array_equal(saturated, choices[:, 3] > 0)
    # The shadow lies on the side opposite to the light.
    grey = images.mean(axis=-1)
    edges = {"left": grey[:, :, 0], "right": grey[:, :, -1], "top": grey[:, 0], "bottom": grey[:, -1]}
    means = {name: edge.mean(axis=1) for name, edge in edges.items()}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    light = np.array(marble_captions.FACTORS["light"])[choices[:, 4]]
    assert all(means[side][i] >= means[opposite[side]][i] - 1e-6 for i, side in enumerate(light))
    # The ring between the radii of small and large marbles shows the smooth background or the marble.
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    ring = (np.hypot(x, y) > 0.45) & (np.hypot(x, y) < 0.53)
    deviation = images[:, ring].std(axis=1).mean(axis=-1)
    assert deviation[choices[:, 0] == 1].mean() > deviation[choices[:, 0] == 0].mean()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([[0, 0, 0, 0]], "rows of 5"),
        ([[0, 0, 0, 0, 4]], "index out of range"),
        ([[-1, 0, 0, 0, 0]], "index out of range"),
        ([[0.5, 0, 0, 0, 0]], "float64; expected integers"),
    ],
)
def test_invalid_choices_are_rejected(choices, message):
    with pytest.raises((ValueError, TypeError), match=message):
        marble_captions.render(choices, rng=0)
    with pytest.raises((ValueError, TypeError), match=message):
        marble_captions.from_choice(choices[0])


def test_held_out_combinations_are_in_the_test_images_only():
    data = datasets.load("captioned_marbles")
    held_out = {tuple(choice) for choice in marble_captions.combinations()[1]}
    complete = data.y_train.sum(axis=1) == 5
    assert not held_out & {tuple(choice) for choice in marble_captions.decode(data.y_train[complete])}
    assert held_out & {tuple(choice) for choice in marble_captions.decode(data.y_test)}
    omitted = 1 - data.y_train.sum() / (5 * len(data.y_train))
    assert omitted == pytest.approx(marbles.OMISSION_RATE, abs=0.01)
