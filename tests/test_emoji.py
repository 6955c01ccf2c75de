"""The embedded emoji: the file and its record, the table of concepts, near-copies, the split, captions and hues."""

import json
from pathlib import Path

import numpy as np
import pytest
from imggen_lib.data import make_emoji

from imggen_lib import datasets, io
from imggen_lib.datasets import emoji

DATA = Path(make_emoji.__file__).parent
RECORD = json.loads((DATA / "emoji.json").read_text(encoding="utf-8"))
COUNTS = {"fluent": 1162, "noto": 1166, "fxemoji": 553, "twemoji": 1166, "emojione": 844}


@pytest.fixture(scope="module")
def found():
    return emoji.icons()


def test_the_record_matches_the_file_the_script_and_the_pixels(found):
    assert RECORD["sha256"] == io.sha256(DATA / "emoji.npz")
    assert RECORD["icons"] == COUNTS and RECORD["concepts"] == len(found.names) == 1166
    archives = (*make_emoji.PACKAGES.values(), make_emoji.CHARACTERS)
    assert RECORD["made_from"] == {package: sha256 for package, _, sha256 in archives}
    assert RECORD["made_with"]["resvg_py"] == make_emoji.RENDERER[1]
    # Lossless: the pixels are those that were rendered.
    assert RECORD["sha256_of_pixels"] == make_emoji.hashlib.sha256(found.images.tobytes()).hexdigest()


def test_the_file_is_below_six_megabytes():
    assert (DATA / "emoji.npz").stat().st_size < 6_000_000


def test_licences_and_attribution_name_every_source():
    licences = (DATA / "LICENSES" / "emoji.txt").read_text(encoding="utf-8")
    for owner in ("Microsoft", "Google", "Mozilla", "Twitter", "EmojiOne", "EmojiTwo"):
        assert owner in licences and owner in emoji.ATTRIBUTION
    for name, beginning in (("apache-2.0", "Apache License"), ("cc-by-4.0", "Attribution 4.0 International")):
        assert beginning in (DATA / "LICENSES" / f"{name}.txt").read_text(encoding="utf-8")[:100]
        assert f"{name}.txt" in licences
    assert set(RECORD["licence"]) == set(make_emoji.LICENCES) == set(emoji.STYLES) == set(make_emoji.PACKAGES)


def test_every_concept_has_three_styles_or_more_and_an_icon_at_most_once(found):
    assert np.bincount(found.styles).tolist() == list(COUNTS.values())
    assert np.bincount(found.concepts).min() == make_emoji.MIN_STYLES
    pairs = set(zip(found.concepts.tolist(), found.styles.tolist(), strict=True))
    assert len(pairs) == len(found.images) == 4891


@pytest.mark.parametrize(
    ("name", "category", "code_points"),
    [
        ("octopus", "Animals & Nature", "1f419"),
        ("red apple", "Food & Drink", "1f34e"),
        ("polar bear", "Animals & Nature", "1f43b-200d-2744"),
        ("rocket", "Travel & Places", "1f680"),
    ],
)
def test_names_categories_and_code_points_are_those_of_unicode(found, name, category, code_points):
    index = found.names.index(name)
    assert (found.categories[index], found.code_points[index]) == (category, code_points)


def test_flags_signs_clock_faces_and_variants_of_skin_and_gender_are_left_out(found):
    assert set(found.categories) == {
        "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places", "Activities",
        "Objects",
    }  # fmt: skip
    code_points = [{int(point, 16) for point in text.split("-")} for text in found.code_points]
    # Skin tones, the signs for female and male, keycaps, letters of flags, clock faces.
    excluded = {*range(0x1F3FB, 0x1F400), 0x2640, 0x2642, 0x20E3, *range(0x1F1E6, 0x1F200), *range(0x1F550, 0x1F568)}
    assert [points for points in code_points if points & excluded] == []
    assert not any("skin tone" in name for name in found.names)


@pytest.mark.parametrize(
    ("code_points", "category", "wanted"),
    [
        ("1f34e", "Food & Drink", True),
        ("1f44b", "People & Body", True),
        ("1f44b-1f3fb", "People & Body", False),
        ("1f3c3-200d-2640", "People & Body", False),
        ("1f468-200d-1f33e", "People & Body", False),
        ("1f9d1-200d-1f33e", "People & Body", True),
        ("1f6b6-200d-27a1", "People & Body", False),
        ("1f43b-200d-2744", "Animals & Nature", True),
        ("1f555", "Travel & Places", False),
        ("2648", "Symbols", False),
        ("1f1eb-1f1f7", "Flags", False),
    ],
)
def test_wanted_characters(code_points, category, wanted):
    assert make_emoji.is_wanted(tuple(int(point, 16) for point in code_points.split("-")), category) is wanted


def test_names_of_packages_are_matched_by_short_name_standard_name_and_synonym():
    table = make_emoji.CharacterTable(
        {"☎️": {"name": "telephone", "group": "Objects"}, "🐰": {"name": "rabbit face", "group": "Animals & Nature"}}
    )
    names = ["blacktelephone", "bunny", "unknown"]
    assert table.match_names(names, {"bunny": "rabbit face"}) == {(0x260E,): "blacktelephone", (0x1F430,): "bunny"}
    assert table.match_code_points({"260e-fe0f": "phone", "1f9ff": "amulet"}) == {(0x260E,): "phone"}


def test_an_icon_that_is_not_square_is_centred_and_a_mirrored_one_is_flipped():
    icons = {
        "width": 32,
        "height": 32,
        "icons": {"wide": {"body": "<g/>", "height": 16}, "tall": {"body": "<g/>", "width": 8, "left": 2}},
        "aliases": {"mirrored": {"parent": "tall", "hFlip": True}, "turned": {"parent": "tall", "rotate": 1}},
    }
    assert 'viewBox="0 -8.0 32 32"' in make_emoji.svg(icons, "wide")
    assert 'viewBox="-10.0 0 32 32"' in make_emoji.svg(icons, "tall")
    assert 'translate(12 0) scale(-1 1)"><g/>' in make_emoji.svg(icons, "mirrored")
    with pytest.raises(ValueError, match="transformations"):
        make_emoji.svg(icons, "turned")


def test_the_background_is_white_and_every_icon_has_content(found):
    corners = found.images[:, [0, 0, -1, -1], [0, -1, 0, -1]].min(axis=(1, 2))
    # Scenes such as sunsets fill the square.
    assert (corners == 255).mean() > 0.95
    assert ((found.images < 245).any(axis=-1).mean(axis=(1, 2)) > 0.02).all()


def test_the_stored_hues_are_those_of_the_definition(found):
    part = slice(None, None, 20)
    np.testing.assert_allclose(found.hues[part], emoji.dominant_hue(found.images[part] / 255), atol=1e-3)
    assert np.isfinite(found.hues).sum() == RECORD["icons_with_dominant_hue"]


def test_near_copies_of_a_concept_in_two_styles_are_one_group(found):
    pairs = 0
    for first in range(0, len(found.names), 100):
        part = np.flatnonzero((found.concepts >= first) & (found.concepts < first + 100))
        concepts, groups = found.concepts[part], found.groups[part]
        near = make_emoji.distances(found.images[part]) < make_emoji.MAX_DISTANCE_OF_STYLES
        near &= concepts[:, np.newaxis] == concepts
        assert (groups[:, np.newaxis] == groups)[near].all()
        pairs += np.triu(near, 1).sum()
    assert pairs == RECORD["near_copies"]["pairs_of_styles"] == 278


def test_the_distance_ignores_position_and_size_and_separates_shapes():
    images = np.full((4, 64, 64, 3), 255, np.uint8)
    images[0, :48, :48] = images[1, 40:, 40:] = (200, 0, 0)
    images[2, 8:56, 30:34] = (200, 0, 0)
    images[3, :48, :48] = (0, 0, 200)
    distance = make_emoji.distances(images)
    assert distance[0, 1] == pytest.approx(0, abs=1e-6)
    assert min(distance[0, 2], distance[0, 3]) > make_emoji.MAX_DISTANCE_OF_STYLES


def test_near_copies_are_on_one_side_of_the_split(found):
    """No training image is a near-copy of a test image, of the same concept in another style or of another concept."""
    out = emoji.held_out()
    distance = make_emoji.distances(found.images[out], found.images[~out])
    same = found.concepts[out][:, np.newaxis] == found.concepts[~out]
    limits = np.where(same, make_emoji.MAX_DISTANCE_OF_STYLES, make_emoji.MAX_DISTANCE_OF_CONCEPTS)
    assert (distance >= limits).all()
    assert set(found.groups[out]).isdisjoint(found.groups[~out])


def test_held_out_icons_have_concepts_and_styles_that_are_in_training_images(found):
    out = emoji.held_out()
    assert out.sum() == 490
    remaining = np.bincount(found.concepts[~out], minlength=len(found.names))
    assert remaining.min() >= 2
    for style in range(5):
        assert 0.05 < out[found.styles == style].mean() < 0.15


@pytest.mark.parametrize(("name", "factor"), [("emoji", 1), ("emoji_32", 2)])
def test_the_dataset_has_the_icons_of_the_split_in_order(found, name, factor):
    data, out = datasets.load(name), emoji.held_out()
    for images, rows, part in ((data.x_train, data.y_train, ~out), (data.x_test, data.y_test, out)):
        expected = found.images[part][7].reshape(64 // factor, factor, 64 // factor, factor, 3).mean(axis=(1, 3)) / 255
        np.testing.assert_allclose(images[7], expected, atol=1e-6)
        style, concept = rows[7].nonzero()[0]
        assert data.class_names[style] == f"{emoji.STYLES[found.styles[part][7]]} style"
        assert data.class_names[concept] == found.names[found.concepts[part][7]]
        assert (rows.sum(axis=1) == 2).all()


def test_captions_are_encoded_and_unstated_parts_are_zero():
    condition = datasets.load("emoji_32").condition
    rows = condition.encode(["Octopus, NOTO style", "octopus", "fluent style", ""])
    assert [[condition.names[i] for i in row.nonzero()[0]] for row in rows] == [
        ["noto style", "octopus"],
        ["octopus"],
        ["fluent style"],
        [],
    ]
    np.testing.assert_array_equal(condition.sample(5, seed=3), condition.sample(5, seed=3))
    assert condition.sample(5, seed=3).sum(axis=1).tolist() == [2] * 5


def test_parse_inverts_compose_for_every_concept(found):
    for index, name in enumerate(found.names):
        style = emoji.STYLES[index % 5]
        assert emoji.parse(emoji.compose(name, style)) == (name, style)
    assert emoji.parse(emoji.compose(style="noto")) == (None, "noto")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: emoji.parse("octopuss, noto style"), ValueError, "no emoji named 'octopuss'; did you mean 'octopus'?"),
        (lambda: emoji.parse("octopus, gothic style"), ValueError, "style is 'gothic'; expected one of fluent, noto"),
        (lambda: emoji.parse("octopus, rocket"), ValueError, "has 2 names; expected one"),
        (lambda: emoji.parse(3), TypeError, "the caption is 3; expected a string"),
        (
            lambda: emoji.icons().find("zebra", "fxemoji"),
            ValueError,
            "style fxemoji has no icon 'zebra'; it exists in fluent",
        ),
        (lambda: emoji.dominant_hue(np.ones((8, 8, 3))), ValueError, "expected 4 dimensions"),
        (lambda: emoji.dominant_hue(np.ones((1, 8, 8, 1))), ValueError, r"expected \(n, height, width, 3\)"),
        (lambda: datasets.load("emoji", data_dir="."), ValueError, "not read from a folder"),
    ],
)
def test_bad_input_is_rejected_with_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hue"), [("red apple", 0), ("tangerine", 30), ("lemon", 50), ("frog", 100), ("droplet", 205)]
)
def test_dominant_hues_of_known_things(found, name, hue):
    hues = found.hues[found.concepts == found.names.index(name)]
    assert np.isfinite(hues).any()
    assert (np.abs((hues[np.isfinite(hues)] - hue + 180) % 360 - 180) < 45).all()


@pytest.mark.parametrize("name", ["panda", "polar bear", "skull", "zebra", "rainbow"])
def test_grey_and_many_coloured_icons_have_no_dominant_hue(found, name):
    assert np.isnan(found.hues[found.concepts == found.names.index(name)]).all()


def test_a_brown_and_a_pale_colour_are_no_dominant_hue():
    squares = np.ones((3, 8, 8, 3))
    squares[:, 2:6, 2:6] = np.array([[0.4, 0.2, 0.0], [1.0, 0.8, 0.8], [1.0, 0.5, 0.0]])[:, np.newaxis, np.newaxis]
    assert emoji.dominant_hue(squares).tolist() == [pytest.approx(np.nan, nan_ok=True)] * 2 + [30.0]
