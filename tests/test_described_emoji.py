"""Attributes of scenes of emoji, and what counts as a match with a description."""

import numpy as np
import pytest

from imggen_lib import datasets, evaluation, models
from imggen_lib.datasets import composed_emoji, described_emoji
from imggen_lib.datasets.composed_emoji import parse


def shown(*captions):
    """Return the attributes of scenes as a perfect recogniser sees them: each attribute has a value."""
    rows = np.stack([described_emoji.attributes(parse(caption)) for caption in captions])
    return np.where(rows == described_emoji.UNKNOWN, 0, rows)


def test_attributes_name_the_left_or_upper_group_first():
    names = list(described_emoji.ATTRIBUTES)
    values = described_emoji.attributes(parse("two red apples below a blue car, noto style"))
    found = {name: described_emoji.ATTRIBUTES[name][value] for name, value in zip(names, values, strict=True) if value >= 0}
    assert found == {
        "first noun": "car", "first colour": "blue", "first count": "one",
        "second noun": "apple", "second colour": "red", "second count": "two",
        "arrangement": "one above the other", "style": "noto",
    }  # fmt: skip


def test_rows_have_a_one_for_each_attribute_of_the_scene():
    rows = described_emoji.encode(["an apple", "two red apples left of a car, noto style"])
    assert rows.shape == (2, sum(described_emoji.COUNTS)) and rows.dtype == np.float32
    assert rows.sum(axis=1).tolist() == [3, 7]
    groups = np.split(rows[1], np.cumsum(described_emoji.COUNTS)[:-1])
    places = [int(group.argmax()) if group.any() else described_emoji.UNKNOWN for group in groups]
    assert places == described_emoji.attributes(parse("two red apples left of a car, noto style")).tolist()


@pytest.mark.parametrize(
    ("scene", "caption", "wrong"),
    [
        ("a red apple, noto style", "a red apple, noto style", []),
        ("a red apple, noto style", "an apple", []),
        ("a red apple", "a red pear", ["noun"]),
        ("a red apple", "a green apple", ["colour"]),
        ("two red apples", "a red apple", ["count"]),
        ("a red apple, noto style", "a red apple, twemoji style", ["style"]),
        ("a red apple left of a car", "a red apple above a car", ["position"]),
        ("a car left of a red apple", "a red apple left of a car", ["position"]),
        ("a car left of a green apple", "a red apple left of a car", ["colour", "position"]),
        ("a red apple left of a car", "a red apple", ["noun", "count"]),
        ("a red apple", "a red apple left of a car", ["count", "noun", "position"]),
    ],
)
def test_matches_finds_what_is_wrong_and_nothing_else(scene, caption, wrong):
    found = described_emoji.matches(shown(scene), [parse(caption)])
    single = {name: bool(values[0]) for name, values in found.items() if name != "all"}
    assert sorted(name for name, right in single.items() if not right) == sorted(wrong)
    assert bool(found["all"][0]) == all(right for name, right in single.items() if name != "position")


def test_matches_needs_a_row_for_each_description():
    with pytest.raises(ValueError, match=r"shown has the shape \(1, 8\); expected \(2, 8\)"):
        described_emoji.matches(shown("an apple"), [parse("an apple")] * 2)


def test_dataset_has_all_kinds_of_held_out_combinations_in_both_parts():
    scenes = datasets.load("described_emoji")
    for images, labels in ((scenes.x_train, scenes.y_train), (scenes.x_test, scenes.y_test)):
        assert len(images) == len(labels) and labels.shape[1] == sum(described_emoji.COUNTS)
        kinds = {kind for item in images.descriptions for kind in composed_emoji.held_out_kinds(item)}
        assert kinds == {"style", "colour", "pair"}
    assert len(scenes.condition.names) == scenes.condition.size == sum(described_emoji.COUNTS)


def test_recogniser_reads_rendered_scenes_of_held_out_combinations():
    for part in composed_emoji.PARTS:
        wanted = composed_emoji.sample_descriptions(100, rng=5, part=part)
        images = composed_emoji.render(wanted, rng=6)
        found = evaluation.scene_matches(images, wanted)
        # Of 100 scenes, at chance fewer than one would be right in everything.
        assert found["all"].mean() > 0.3 and found["noun"].mean() > 0.5
        assert found["count"].mean() > 0.9 and found["colour"].mean() > 0.9
        assert evaluation.scene_matches(images, wanted[1:] + wanted[:1])["all"].mean() < 0.1


def test_labels_of_a_classifier_are_decoded_with_minus_one_for_missing_attributes():
    classifier = models.AttributeClassifier(models.image_features((8, 8, 3), 4), described_emoji.COUNTS)
    descriptions = composed_emoji.sample_descriptions(20, rng=0)
    expected = np.stack([described_emoji.attributes(item) for item in descriptions])
    np.testing.assert_array_equal(classifier.decode_labels(described_emoji.encode(descriptions)), expected)
