"""Scenes of emoji: grammar and parser, layout, colours, and combinations that no training image has."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imggen_lib.data import make_emoji

from imggen_lib.datasets import composed_emoji, emoji
from imggen_lib.datasets.composed_emoji import COLOURS, NOUNS, RELATIONS, STYLES, Description, Group

N = 1500


@pytest.fixture(scope="module")
def training():
    """Training descriptions: with the style in which each is rendered."""
    return composed_emoji.sample_descriptions(N, rng=0)


@st.composite
def descriptions(draw):
    """Any description without a style that can be shown, or with one of the styles that can show it."""
    nouns = draw(st.lists(st.sampled_from(NOUNS), min_size=1, max_size=2, unique=True))
    groups = []
    for noun in nouns:
        colours = st.sampled_from([None, *COLOURS]) if noun in composed_emoji.colourable() else st.none()
        groups.append(Group(noun, draw(colours), draw(st.integers(1, 2))))
    relation = draw(st.sampled_from(RELATIONS)) if len(groups) == 2 else None
    possible = [
        style for style in STYLES if all(style in composed_emoji.styles_of(g.noun, coloured=bool(g.colour)) for g in groups)
    ]
    style = draw(st.sampled_from([None, *possible])) if possible else None
    return (groups[0], relation, groups[1] if relation else None, style), possible


@given(descriptions())
@settings(max_examples=150)
def test_parse_inverts_compose(drawn):
    parts, possible = drawn
    if not possible:
        with pytest.raises(ValueError, match="no style can show"):
            Description(*parts)
        return
    description = Description(*parts)
    assert composed_emoji.parse(composed_emoji.compose(description)) == description


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_survives_each_template(noun):
    other = "rocket" if noun != "rocket" else "skull"
    for count, relation in itertools.product((1, 2), (None, *RELATIONS)):
        first, second = Group(noun, None, count), Group(other, None, 3 - count)
        for description in (
            Description(first, relation, second if relation else None),
            Description(second, relation, first)
            if relation
            else Description(first, style=composed_emoji.styles_of(noun)[0]),
        ):
            caption = composed_emoji.compose(description)
            assert composed_emoji.parse(caption) == description
            assert set(composed_emoji.words(caption)) <= set(composed_emoji.VOCABULARY)


@pytest.mark.parametrize(
    ("caption", "description"),
    [
        ("two blue octopuses", Description(Group("octopus", "blue", 2))),
        (
            "a green apple left of a red car, noto style",
            Description(Group("apple", "green"), "left of", Group("car", "red"), "noto"),
        ),
        ("An orange unicorn", None),
        ("an hourglass above two sheep", Description(Group("hourglass"), "above", Group("sheep", None, 2))),
        ("a  SHEEP", Description(Group("sheep"))),
        ("two fish", Description(Group("fish", None, 2))),
        ("a fish right of two tropical fish", Description(Group("fish"), "right of", Group("tropical fish", None, 2))),
        ("a umbrella", Description(Group("umbrella"))),
        (
            "two computer mice below an ice cream",
            Description(Group("computer mouse", None, 2), "below", Group("ice cream")),
        ),
    ],
)
def test_captions_are_parsed(caption, description):
    if description is None:
        with pytest.raises(ValueError, match="the noun 'unicorn' cannot be orange"):
            composed_emoji.parse(caption)
    else:
        assert composed_emoji.parse(caption) == description


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("mouse", "mice"), ("computer mouse", "computer mice"), ("leaf", "leaves"), ("maple leaf", "maple leaves"),
        ("knife", "knives"), ("loaf", "loaves"), ("wolf", "wolves"), ("ox", "oxen"), ("sheep", "sheep"), ("deer", "deer"),
        ("fish", "fish"), ("die", "dice"), ("man", "men"), ("old woman", "old women"), ("snowman", "snowmen"),
        ("octopus", "octopuses"), ("cactus", "cactuses"), ("bus", "buses"), ("fox", "foxes"), ("peach", "peaches"),
        ("paintbrush", "paintbrushes"), ("wine glass", "wine glasses"), ("butterfly", "butterflies"), ("baby", "babies"),
        ("monkey", "monkeys"), ("key", "keys"), ("potato", "potatoes"), ("tomato", "tomatoes"), ("volcano", "volcanoes"),
        ("tornado", "tornadoes"), ("radio", "radios"), ("piano", "pianos"), ("taco", "tacos"), ("watch", "watches"),
        ("eggplant", "eggplants"), ("bee", "bees"), ("shoe", "shoes"), ("couch", "couches"), ("trophy", "trophies"),
    ],
)  # fmt: skip
def test_plurals(singular, plural):
    assert singular in NOUNS and composed_emoji.plural(singular) == plural


def test_articles_follow_the_sound_of_the_next_word():
    def phrase(noun, colour=None):
        return composed_emoji.compose(Description(Group(noun, colour)))

    assert [phrase("apple"), phrase("umbrella"), phrase("unicorn"), phrase("hourglass"), phrase("horse")] == [
        "an apple", "an umbrella", "a unicorn", "an hourglass", "a horse",
    ]  # fmt: skip
    assert [phrase("apple", "green"), phrase("car", "orange")] == ["a green apple", "an orange car"]


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("two blue octopus", "has the wrong number; write 'two octopuses' or 'an octopus'"),
        ("an octopuses", "has the wrong number; write 'two octopuses'"),
        ("a green appel", "has the unknown noun 'appel'; did you mean 'apple'"),
        ("a house left of a rockit", "has the unknown noun 'rockit'; did you mean 'rocket'"),
        ("a qqq", "has the unknown noun 'qqq'; did you mean "),
        ("a violet apple", "the unknown colour 'violet' of 'apple'; expected one of red, orange, yellow, green, cyan"),
        ("an apple, gothic style", "the unknown style 'gothic'; expected one of fluent, noto, fxemoji, twemoji, emojione"),
        ("style", "the unknown style ''"),
        ("three apples", "has 'three apples' where 'a', 'an' or 'two' and a noun are expected"),
        ("", "has nothing where 'a', 'an' or 'two'"),
        ("an apple above", "has nothing where"),
        ("a", "has the unknown noun ''"),
        ("an apple left of a house above a car", "has several relations"),
        ("an apple left of a house left of a car", "has several relations"),
        ("an apple left of two apples", "both groups are of the noun 'apple'"),
        ("a red panda", "the noun 'panda' cannot be red: leave the colour out"),
        (
            "a fox, fxemoji style",
            "the style fxemoji cannot show 'a fox': an icon is missing, or has no dominant hue to turn; expected one of",
        ),
    ],
)
def test_bad_captions_are_rejected_with_one_line(caption, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")) as caught:
        composed_emoji.parse(caption)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Group("octapus"), ValueError, "no noun 'octapus'; did you mean 'octopus'"),
        (lambda: Group("apple", "violet"), ValueError, "colour is 'violet'; expected one of red"),
        (lambda: Group("apple", None, 3), ValueError, "count is 3; expected one of 1, 2"),
        (lambda: Description(Group("apple"), "left of"), ValueError, "a relation needs a second group"),
        (lambda: Description(Group("apple"), None, Group("car")), ValueError, "a relation needs a second group"),
        (
            lambda: Description(Group("apple"), "near", Group("car")),
            ValueError,
            "relation is 'near'; expected one of left of",
        ),
        (lambda: Description(Group("apple"), style="gothic"), ValueError, "style is 'gothic'; expected one of fluent"),
        (lambda: composed_emoji.words(3), TypeError, "the caption is 3; expected a string"),
        (lambda: composed_emoji.render("an apple", rng=0), TypeError, "expected a Description, as parse returns"),
        (
            lambda: composed_emoji.render(Description(Group("apple")), rng=0, size=48),
            ValueError,
            "size is 48; expected one of",
        ),
        (lambda: composed_emoji.sample(1, rng=0, part="test"), ValueError, "part is 'test'; expected one of train, style"),
        (lambda: composed_emoji.sample(-1, rng=0), ValueError, "n is -1"),
        (lambda: composed_emoji.turn_hue(np.ones((4, 4)), 30), ValueError, "expected"),
    ],
)
def test_bad_values_are_rejected_with_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_nouns_are_recognisable_concepts_of_four_styles_or_more():
    assert 300 <= len(NOUNS) <= 600 and len(set(NOUNS)) == len(NOUNS)
    assert all(len(noun.split()) <= 2 and noun.replace(" ", "").isalpha() and noun.islower() for noun in NOUNS)
    assert all(len(composed_emoji.styles_of(noun)) >= 4 for noun in NOUNS)
    reserved = {*STYLES, *COLOURS, "style", "left", "right", "of", "above", "below", "a", "an", "two"}
    assert reserved.isdisjoint(word for noun in NOUNS for word in noun.split())
    assert len({composed_emoji.plural(noun) for noun in NOUNS}) == len(NOUNS)


def test_nouns_are_no_near_copies_of_each_other():
    """In at most one style, the icons of two nouns are about as near as near-copies of one concept."""
    counts = np.zeros((len(NOUNS), len(NOUNS)), int)
    for style in STYLES:
        present = [index for index, noun in enumerate(NOUNS) if style in composed_emoji.styles_of(noun)]
        icons = [composed_emoji._icons()[NOUNS[index]][style] for index in present]
        counts[np.ix_(present, present)] += make_emoji.distances(emoji.icons().images[icons]) < 0.33
    near = np.argwhere(np.triu(counts, 1) >= 2)
    assert [(NOUNS[i], NOUNS[j]) for i, j in near] == []


def test_the_vocabulary_has_every_word_once_in_a_fixed_order():
    vocabulary = composed_emoji.VOCABULARY
    assert len(set(vocabulary)) == len(vocabulary) == 774
    assert vocabulary[:9] == ("a", "an", "two", "left", "of", "right", "above", "below", "style")
    assert vocabulary[9:22] == (*STYLES, *COLOURS)
    captions, _ = composed_emoji.sample(200, rng=5)
    assert {word for caption in captions for word in composed_emoji.words(caption)} <= set(vocabulary)


def test_turning_the_hue_keeps_greys_value_and_chroma():
    rng = np.random.default_rng(0)
    image = rng.random((5, 5, 3))
    turned = composed_emoji.turn_hue(image, 77)
    np.testing.assert_allclose(turned.max(axis=-1), image.max(axis=-1))
    np.testing.assert_allclose(turned.min(axis=-1), image.min(axis=-1))
    np.testing.assert_allclose(composed_emoji.turn_hue(turned, -77), image, atol=1e-12)
    np.testing.assert_allclose(composed_emoji.turn_hue(image, 120), image[..., [2, 0, 1]], atol=1e-12)
    greys = np.repeat(rng.random((4, 1)), 3, axis=-1)
    np.testing.assert_allclose(composed_emoji.turn_hue(greys, 77), greys)


def inside(hue, colour):
    low, high = COLOURS[colour]
    return np.abs((hue - (low + high) / 2 + 180) % 360 - 180) <= (high - low) / 2


@pytest.mark.parametrize("colour", COLOURS)
def test_the_hue_of_a_coloured_object_is_in_the_interval_of_its_colour(colour):
    """A red apple is red: measured in the image, for each noun in one style."""
    items = [
        Description(Group(noun, colour), style=styles[index % len(styles)])
        for index, noun in enumerate(composed_emoji.colourable()[:: 1 + list(COLOURS).index(colour) % 2])
        for styles in [composed_emoji.styles_of(noun, coloured=True)]
    ]
    hues = emoji.dominant_hue(composed_emoji.render(items, rng=0))
    measured = np.isfinite(hues)
    # Smaller icons have more pale pixels at their edges, so a few are below the thresholds.
    assert measured.mean() > 0.9 and inside(hues[measured], colour).all()


def test_intervals_of_colours_do_not_touch():
    bounds = sorted((low % 360, high % 360) for low, high in COLOURS.values())
    assert all(first[1] + 5 < second[0] for first, second in itertools.pairwise(bounds) if first[1] > first[0])
    assert all(inside(low, name) and inside(high, name) for name, (low, high) in COLOURS.items())


def test_objects_do_not_overlap_and_lie_inside_the_image(training):
    for seed, description in enumerate(training[:500]):
        rows = composed_emoji.layout(description, rng=seed)
        assert np.bincount(rows[:, 0]).tolist() == [group.count for group in description.groups]
        covered = np.zeros((64, 64), int)
        for _, left, top, side in rows:
            assert left >= 0 and top >= 0 and left + side <= 64 and top + side <= 64
            covered[top : top + side, left : left + side] += 1
        assert covered.max() == 1


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("counts", itertools.product((1, 2), repeat=2))
def test_left_is_left_and_above_is_above(relation, counts):
    description = Description(Group("octopus", None, counts[0]), relation, Group("rocket", None, counts[1]))
    axis, first_is_before = {"left of": (1, True), "right of": (1, False), "above": (2, True), "below": (2, False)}[
        relation
    ]
    for seed in range(30):
        rows = composed_emoji.layout(description, rng=seed)
        before, after = (rows[rows[:, 0] == index] for index in ((0, 1) if first_is_before else (1, 0)))
        # Every pixel of one group is before every pixel of the other, along the axis of the relation.
        assert (before[:, axis] + before[:, 3]).max() <= after[:, axis].min()
        # The offset across the relation is smaller, where each group has one object.
        if counts == (1, 1):
            offsets = np.abs(np.diff(rows[:, 1:3] + rows[:, 3:] / 2, axis=0))[0]
            assert offsets[axis - 1] > 0.9 * offsets[2 - axis]


def test_rendered_colours_are_where_the_caption_says():
    (image,) = composed_emoji.render(composed_emoji.parse("a red apple left of a blue balloon, twemoji style"), rng=4)
    left, right = emoji.dominant_hue(np.stack([image[:, :32], image[:, 32:]]))
    assert inside(left, "red") and inside(right, "blue")


def test_an_object_is_its_icon_on_white():
    description = Description(Group("octopus"), style="noto")
    (image,) = composed_emoji.render(description, rng=3)
    # The same random numbers: a stated style uses none.
    ((_, left, top, side),) = composed_emoji.layout(description, rng=3)
    icon = emoji.icons().images[emoji.icons().find("octopus", "noto")]
    resized = np.asarray(composed_emoji.PIL.Image.fromarray(icon).resize((side, side), 5)) / 255
    np.testing.assert_allclose(image[top : top + side, left : left + side], resized, atol=1e-6)
    image[top : top + side, left : left + side] = 1
    assert (image == 1).all()


def test_images_are_float32_in_the_unit_range_and_the_small_ones_are_averages():
    captions, images = composed_emoji.sample(20, rng=7)
    same_captions, small = composed_emoji.sample(20, rng=7, size=32)
    assert images.dtype == small.dtype == np.float32 and images.shape == (20, 64, 64, 3) and small.shape == (20, 32, 32, 3)
    assert images.min() >= 0 and images.max() == 1
    assert captions == same_captions
    np.testing.assert_allclose(small, images.reshape(20, 32, 2, 32, 2, 3).mean(axis=(2, 4)), atol=1e-6)
    assert composed_emoji.sample(0, rng=0)[1].shape == (0, 64, 64, 3)


def test_the_same_seed_gives_the_same_captions_and_images():
    for part in composed_emoji.PARTS:
        captions, images = composed_emoji.sample(10, rng=11, part=part)
        again, same = composed_emoji.sample(10, rng=11, part=part)
        assert captions == again
        np.testing.assert_array_equal(images, same)
    assert composed_emoji.sample(10, rng=12)[0] != captions


# Held-out combinations


def test_training_descriptions_have_no_held_out_combination(training):
    out = composed_emoji.held_out()
    for description in training:
        nouns = sorted(group.noun for group in description.groups)
        assert out.styles.isdisjoint((noun, description.style) for noun in nouns)
        assert out.colours.isdisjoint((group.noun, group.colour) for group in description.groups)
        assert tuple(nouns) not in out.pairs


def test_training_images_are_made_of_training_icons_only(monkeypatch, training):
    """The icons that are read are recorded, for captions without a style too."""
    used = set()

    class Recorder(dict):
        def __getitem__(self, style):
            used.add(super().__getitem__(style))
            return super().__getitem__(style)

    table = {noun: Recorder(found) for noun, found in composed_emoji._icons().items()}
    monkeypatch.setattr(composed_emoji, "_icons", lambda: table)
    composed_emoji.render(training[:700], rng=1)
    without_style = [dataclasses.replace(description, style=None) for description in training[:700]]
    composed_emoji.render(without_style, rng=1)
    assert len(used) > 700 and not emoji.held_out()[list(used)].any()


def test_every_training_combination_is_allowed_and_every_drawn_one_is_in_the_parts():
    """The sampler draws freely and keeps a description only if it has the combinations of its part."""
    out = composed_emoji.held_out()
    for part in composed_emoji.PARTS:
        expected = () if part == "train" else (part,)
        drawn = composed_emoji.sample_descriptions(300, rng=2, part=part)
        assert {composed_emoji.held_out_kinds(description) for description in drawn} == {expected}
    noun, style = sorted(out.styles)[0]
    assert composed_emoji.held_out_kinds(Description(Group(noun), style=style)) == ("style",)
    assert composed_emoji.held_out_kinds(Description(Group(noun))) == ()
    first, second = sorted(out.pairs)[0]
    for relation in RELATIONS:
        assert "pair" in composed_emoji.held_out_kinds(Description(Group(first), relation, Group(second)))
        assert "pair" in composed_emoji.held_out_kinds(Description(Group(second), relation, Group(first)))


def test_no_icon_shows_a_held_out_colour_by_itself():
    """So a training image without a stated colour does not show it either."""
    hues = emoji.icons().hues
    for noun, colour in composed_emoji.held_out().colours:
        own = [hues[index] for index in composed_emoji._icons()[noun].values()]
        assert not any(inside(hue, colour) for hue in own if np.isfinite(hue)), (noun, colour)


def test_every_part_of_a_held_out_combination_is_in_training_images_in_others():
    out = composed_emoji.held_out()
    for noun, _ in out.styles:
        assert len(set(composed_emoji.styles_of(noun)) - {style for name, style in out.styles if name == noun}) >= 2
    colours = {noun: [colour for name, colour in out.colours if name == noun] for noun in composed_emoji.colourable()}
    assert all(len(found) == 1 for found in colours.values())
    assert set(itertools.chain(*colours.values())) == set(COLOURS)
    partners = dict.fromkeys(NOUNS, len(NOUNS) - 1)
    for pair in out.pairs:
        assert pair[0] < pair[1]
        for noun in pair:
            partners[noun] -= 1
    assert min(partners.values()) > 0.8 * len(NOUNS)
    assert (len(out.styles), len(out.colours), len(out.pairs)) == (185, 144, 7109)


def test_training_images_show_every_noun_of_every_combination():
    drawn = composed_emoji.sample_descriptions(12_000, rng=3)
    groups = [(group, description.style) for description in drawn for group in description.groups]
    assert {group.noun for group, _ in groups} == set(NOUNS)
    coloured = {group.noun for group, _ in groups if group.colour is not None}
    assert {noun for noun, _ in composed_emoji.held_out().colours} <= coloured
    in_pairs = {group.noun for description in drawn if description.relation for group in description.groups}
    assert {noun for pair in composed_emoji.held_out().pairs for noun in pair} <= in_pairs


def test_captions_of_samples_state_what_is_rendered():
    captions, _ = composed_emoji.sample(200, rng=9)
    parsed = [composed_emoji.parse(caption) for caption in captions]
    drawn = composed_emoji.sample_descriptions(200, rng=9)
    for stated, shown in zip(parsed, drawn, strict=True):
        assert stated in (shown, dataclasses.replace(shown, style=None))
    assert 0.35 < np.mean([stated.style is not None for stated in parsed]) < 0.65
    captions, _ = composed_emoji.sample(50, rng=9, part="style")
    assert all(caption.endswith(" style") for caption in captions)
