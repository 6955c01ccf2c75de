"""Scenes of one to four emoji with captions: a grammar of five attributes, its parser, and rendered images.

A caption states one group of objects, or two groups and their relative position: ``"two blue octopuses"``, ``"a green
apple left of a red car, noto style"``. A group has a noun, a count of one or two, and optionally a colour, to which
the hue of the icon is turned. All icons of an image have the same style.

Some combinations are held out of the training images, to test whether a model composes what it has learned: nouns in a
style, nouns in a colour, and pairs of nouns.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from imggen_lib import _validation as validate
from imggen_lib.datasets import emoji

__all__ = [
    "COLOURS",
    "NOUNS",
    "PARTS",
    "RELATIONS",
    "STYLES",
    "STYLE_OMISSION_RATE",
    "VOCABULARY",
    "Description",
    "Group",
    "HeldOut",
    "colourable",
    "compose",
    "held_out",
    "held_out_kinds",
    "layout",
    "parse",
    "plural",
    "render",
    "sample",
    "sample_descriptions",
    "styles_of",
    "turn_hue",
    "words",
]

#: The drawing styles.
STYLES = emoji.STYLES
#: The colours, and the interval of the hue of each in degrees. The intervals do not touch.
COLOURS: dict[str, tuple[int, int]] = {
    "red": (-12, 12),
    "orange": (22, 38),
    "yellow": (46, 62),
    "green": (95, 145),
    "cyan": (170, 190),
    "blue": (208, 236),
    "purple": (262, 286),
    "pink": (312, 336),
}
#: The position of the first group relative to the second.
RELATIONS = ("left of", "right of", "above", "below")
#: The parts of :func:`sample`: training images, and test images with one held-out combination of style, colour or nouns.
PARTS = ("train", "style", "colour", "pair")
#: The probability that a caption of :func:`sample` does not state the style.
STYLE_OMISSION_RATE = 0.5

# The nouns, each with the name of its concept where the two differ.
_NOUN_TABLE = """
skull; ghost; alien; love letter; heart = red heart; robot; clown = clown face; ear; nose; tongue; baby; man; woman; old
man; old woman; police officer; construction worker; prince; angel = baby angel; snowboarder; skier; surfer = person
surfing; golfer = person golfing; swimmer = person swimming; cyclist = person biking; weightlifter = person lifting
weights; rower = person rowing boat; dancer = woman dancing; detective; juggler = person juggling; fencer = person
fencing; arm = flexed biceps; hand = raised hand; monkey; dog; poodle; wolf; cat; tiger; leopard; horse; cow; ox; pig;
boar; sheep = ewe; goat; camel; elephant; mouse; rat; hamster; rabbit; chipmunk; bear; koala; panda; rooster; chicken;
chick = baby chick; bird; penguin; dove; frog; crocodile; turtle; snake; dragon; whale; dolphin; fish; tropical fish;
blowfish; octopus; shell = spiral shell; snail; caterpillar = bug; ant; bee = honeybee; ladybug = lady beetle; spider;
spider web; bouquet; rose; hibiscus; sunflower; tulip; seedling; tree = deciduous tree; palm tree; cactus; clover = four
leaf clover; maple leaf; leaf = fallen leaf; mushroom; flower = cherry blossom; gorilla; fox; lion; unicorn; deer;
rhinoceros; bat; turkey; eagle; duck; owl; lizard; shark; crab; squid; butterfly; scorpion; melon; watermelon;
tangerine; lemon; banana; pineapple; apple = red apple; pear; peach; strawberry; tomato; eggplant; corn cob = ear of
corn; chili pepper = hot pepper; loaf = bread; drumstick = poultry leg; hamburger; pizza; rice ball; lollipop; ice cream
= soft ice cream; doughnut; cookie; birthday cake; chocolate bar; candy; honey pot; baby bottle; cup = hot beverage;
wine glass; cocktail = cocktail glass; beer mug; knife = kitchen knife; frying pan = cooking; pot = pot of food;
shortcake; hot dog; taco; burrito; croissant; avocado; potato; carrot; cucumber; chestnut; egg; spoon; kiwi = kiwi
fruit; baguette = baguette bread; bottle = bottle with popping cork; volcano; mountain = snow-capped mountain; stadium;
house; office building; hospital; bank; hotel; school; factory; castle; church; fountain; tent; ferris wheel; roller
coaster; circus tent; locomotive; tram; train; bus; ambulance; fire engine; police car; taxi; car = automobile; truck =
delivery truck; tractor; racing car; motorcycle; bicycle; cable car = aerial tramway; fuel pump; traffic light =
vertical traffic light; anchor; sailboat; speedboat; ship; airplane; helicopter; rocket; seat; hourglass = hourglass
done; watch; alarm clock; moon = full moon; crescent moon; thermometer; sun; star; cloud; tornado; rainbow; umbrella;
snowflake; snowman = snowman without snow; flame = fire; droplet; island = desert island; bus stop; barber pole;
carousel horse; siren = police car light; mosque; synagogue; globe = globe showing Americas; canoe; scooter = motor
scooter; satellite; stopwatch; oil drum; stop sign; ferry; comet; lightning bolt = high voltage; wave = water wave;
world map; pumpkin = jack-o-lantern; christmas tree = Christmas tree; balloon; gift = wrapped gift; ticket; medal =
sports medal; trophy; soccer ball; baseball; basketball; football = american football; rugby ball = rugby football;
fishing pole; target = bullseye; crystal ball; gamepad = video game; die = game die; painting = framed picture; palette
= artist palette; slot machine; billiard ball = pool 8 ball; party popper; wind chime; volleyball; boxing glove;
joystick; ribbon; ice skate; drum; spade = spade suit; diamond = diamond suit; necktie; dress; kimono; bikini; blouse =
woman’s clothes; shirt = t-shirt; handbag; backpack; shoe = man’s shoe; high heel = high-heeled shoe; sandal = woman’s
sandal; boot = woman’s boot; crown; hat = woman’s hat; top hat; graduation cap; lipstick; ring; gem = gem stone;
megaphone; bell; musical note; microphone; radio; saxophone; trumpet; guitar; piano = musical keyboard; violin; mobile
phone; telephone; battery; plug = electric plug; laptop; computer = desktop computer; printer; keyboard; computer mouse;
disk = optical disk; movie camera; clapper board; television; camera; videocassette; candle; light bulb; flashlight;
lantern = red paper lantern; book = closed book; notebook; scroll; newspaper; bookmark; label; money bag; banknote =
dollar banknote; credit card; envelope; parcel = package; mailbox = postbox; pencil; fountain pen; paintbrush; crayon;
briefcase; folder = file folder; calendar; clipboard; pushpin; paperclip; ruler = straight ruler; wastebasket; padlock =
locked; key; hammer; dagger; bomb; wrench; bolt = nut and bolt; microscope; telescope; satellite dish = satellite
antenna; syringe; pill; door; toilet; shower; bathtub; cigarette; open book; purse; sneaker = running shoe; floppy disk;
magnifying glass = magnifying glass tilted left; pickaxe = pick; shield; gear; bed; couch = couch and lamp; shopping
cart; coffin; urn = funeral urn; helmet = rescue worker’s helmet; scale = balance scale; horn = postal horn; file
cabinet
"""
_CONCEPTS = {
    noun.strip().lower(): (concept or noun).strip()
    for noun, _, concept in (entry.partition("=") for entry in _NOUN_TABLE.replace("\n", " ").split(";"))
}
#: The nouns, in the singular.
NOUNS = tuple(_CONCEPTS)

_IRREGULAR_PLURALS = {
    "deer": "deer",
    "die": "dice",
    "fish": "fish",
    "blowfish": "blowfish",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "sheep": "sheep",
    "snowman": "snowmen",
    "wolf": "wolves",
    "woman": "women",
    **{word: f"{word}es" for word in ("buffalo", "potato", "tomato", "tornado", "volcano")},
}
# The article follows the sound, not the letter.
_VOWEL_SOUND, _CONSONANT_SOUND = ("hourglass",), ("unicorn",)
_COUNTS = {"a": 1, "an": 1, "two": 2}

# Of the side of an icon, of 64 pixels: alone, and as one of several objects.
_SIDES_ALONE, _SIDES = (40, 61), (24, 31)
_SIZES = (64, 32)
_SIZE = 64
_PAIR_SHARE = 0.1
# A colour is held out only for nouns whose own icons have fewer pixels than this share, among those that are not
# background, with a hue in the interval of the colour or this many degrees beside it.
_MAX_OWN_SHARE, _MARGIN = 0.15, 8
_COLOUR_RATE, _RELATION_RATE = 0.6, 0.5
# A noun can be coloured if its icons in at least this many styles have a dominant hue.
_MIN_COLOURED_STYLES = 3


@dataclasses.dataclass(frozen=True)
class Group:
    """One or two objects of a kind.

    Attributes
    ----------
    noun : str
        One of ``NOUNS``.
    colour : str or None
        One of ``COLOURS``; None leaves the icon as it is.
    count : {1, 2}

    Raises
    ------
    ValueError
        If a value is none of these. The message names nouns that are spelled like an unknown one.

    Examples
    --------
    >>> Group("octopus", "blue", 2)
    Group(noun='octopus', colour='blue', count=2)
    >>> Group("octapus")
    Traceback (most recent call last):
    ...
    ValueError: there is no noun 'octapus'; did you mean 'octopus'?
    """

    noun: str
    colour: str | None = None
    count: int = 1

    def __post_init__(self) -> None:
        if self.noun not in _CONCEPTS:
            raise ValueError(f"there is no noun {self.noun!r}; {_suggestion(self.noun, NOUNS)}")
        if self.colour is not None:
            validate.choice(self.colour, "colour", COLOURS)
        validate.choice(self.count, "count", (1, 2))


@dataclasses.dataclass(frozen=True)
class Description:
    """The content that a caption states and an image must show.

    Attributes
    ----------
    first : Group
    relation : str or None
        One of ``RELATIONS``: the position of the first group relative to the second.
    second : Group or None
        Given with a relation, and of another noun.
    style : str or None
        One of ``STYLES``, or None for any.

    Raises
    ------
    ValueError
        If a value is none of these, only one of relation and second group is given, both groups have the same noun, or no
        style, or not the given one, has icons of the nouns and a dominant hue for each stated colour.

    Examples
    --------
    >>> compose(Description(Group("apple", "green"), "left of", Group("car", "red"), "noto"))
    'a green apple left of a red car, noto style'
    """

    first: Group
    relation: str | None = None
    second: Group | None = None
    style: str | None = None

    def __post_init__(self) -> None:
        if self.style is not None:
            validate.choice(self.style, "style", STYLES)
        if (self.relation is None) != (self.second is None):
            raise ValueError("a relation needs a second group, and a second group needs a relation; only one is given")
        if self.relation is not None:
            validate.choice(self.relation, "relation", RELATIONS)
        if self.second is not None and self.second.noun == self.first.noun:
            raise ValueError(
                f"both groups are of the noun {self.first.noun!r}; expected two nouns, or one group with count 2"
            )
        for group in self.groups:
            if group.colour is not None and group.noun not in colourable():
                raise ValueError(
                    f"the noun {group.noun!r} cannot be {group.colour}: leave the colour out, or choose a noun of "
                    "composed_emoji.colourable(), whose icons have a dominant hue"
                )
        possible = _common_styles(self.groups)
        if not possible or (self.style is not None and self.style not in possible):
            subject = "no style can" if self.style is None else f"the style {self.style} cannot"
            expected = f"; expected one of {', '.join(possible)}" if possible else ""
            raise ValueError(
                f"{subject} show {_compose_groups(self)!r}: an icon is missing, or has no dominant hue to turn{expected}"
            )

    @property
    def groups(self) -> tuple[Group, ...]:
        """The first group, and the second if there is one."""
        return (self.first,) if self.second is None else (self.first, self.second)


def _suggestion(name: str, known: Sequence[str]) -> str:
    return f"did you mean {' or '.join(map(repr, emoji.nearest(name, known)))}?"


def plural(noun: str) -> str:
    """Return the plural of a noun; of two words, the last is inflected.

    Examples
    --------
    >>> [plural(noun) for noun in ("octopus", "computer mouse", "leaf", "butterfly", "monkey")]
    ['octopuses', 'computer mice', 'leaves', 'butterflies', 'monkeys']
    """
    *rest, word = noun.split(" ")
    if word in _IRREGULAR_PLURALS:
        word = _IRREGULAR_PLURALS[word]
    elif re.search(r"(s|x|z|ch|sh)$", word):
        word += "es"
    elif re.search(r"[^aeiou]y$", word):
        word = f"{word[:-1]}ies"
    else:
        word += "s"
    return " ".join([*rest, word])


_PLURALS = {plural(noun): noun for noun in NOUNS}
#: Every word that a caption can contain: function words, styles, colours, and the words of the nouns, each once.
VOCABULARY: tuple[str, ...] = tuple(
    dict.fromkeys(
        word
        for phrase in (*_COUNTS, *RELATIONS, "style", *STYLES, *COLOURS, *NOUNS, *_PLURALS)
        for word in phrase.split(" ")
    )
)


def words(caption: str) -> list[str]:
    """Return the words of a caption in lower case, without punctuation.

    The words need not be in ``VOCABULARY``; :func:`parse` checks them.

    Raises
    ------
    TypeError
        If the caption is not a string.

    Examples
    --------
    >>> words("A green apple left of a house, noto style")
    ['a', 'green', 'apple', 'left', 'of', 'a', 'house', 'noto', 'style']
    """
    if not isinstance(caption, str):
        raise TypeError(f"the caption is {caption!r}; expected a string, such as 'two blue octopuses'")
    return re.findall(r"[^\W_]+", caption.lower())


def compose(description: Description) -> str:
    """Return the caption of a description. :func:`parse` is the inverse.

    Examples
    --------
    >>> compose(Description(Group("octopus", "blue", 2)))
    'two blue octopuses'
    >>> compose(Description(Group("umbrella"), "above", Group("unicorn"), "twemoji"))
    'an umbrella above a unicorn, twemoji style'
    """
    text = _compose_groups(description)
    return text if description.style is None else f"{text}, {description.style} style"


def _compose_groups(description: Description) -> str:
    parts = [_compose_group(group) for group in description.groups]
    return parts[0] if description.relation is None else f"{parts[0]} {description.relation} {parts[1]}"


def _compose_group(group: Group) -> str:
    noun = group.noun if group.count == 1 else plural(group.noun)
    phrase = noun if group.colour is None else f"{group.colour} {noun}"
    first_word = phrase.split(" ")[0]
    vowel = first_word in _VOWEL_SOUND or (first_word[0] in "aeiou" and first_word not in _CONSONANT_SOUND)
    return f"two {phrase}" if group.count == 2 else f"{'an' if vowel else 'a'} {phrase}"


def parse(caption: str) -> Description:
    """Return what a caption states. Case, commas and the choice between "a" and "an" do not matter.

    Parameters
    ----------
    caption : str

    Returns
    -------
    Description

    Raises
    ------
    TypeError
        If the caption is not a string.
    ValueError
        If it is not in the grammar, or states something that no image can show. The message names nouns that are spelled
        like an unknown one, and lists the colours or styles if one of them is unknown.

    Examples
    --------
    >>> parse("two blue octopuses, noto style")
    Description(first=Group(noun='octopus', colour='blue', count=2), relation=None, second=None, style='noto')
    >>> parse("a green appel")
    Traceback (most recent call last):
    ...
    ValueError: the caption 'a green appel' has the unknown noun 'appel'; did you mean 'apple'?
    """
    rest = words(caption)
    style = None
    if rest and rest[-1] == "style":
        style = rest[-2] if len(rest) > 1 else ""
        if style not in STYLES:
            raise ValueError(
                f"the caption {caption!r} has the unknown style {style!r}; expected one of {', '.join(STYLES)}"
            )
        rest = rest[:-2]
    text = f" {' '.join(rest)} "
    found = [relation for relation in RELATIONS if f" {relation} " in text]
    if len(found) > 1 or any(text.count(f" {relation} ") > 1 for relation in found):
        raise ValueError(f"the caption {caption!r} has several relations; expected at most one of {', '.join(RELATIONS)}")
    if not found:
        return Description(_parse_group(rest, caption), style=style)
    first, second = (_parse_group(part.split(), caption) for part in text.split(f" {found[0]} "))
    return Description(first, found[0], second, style)


def _parse_group(group: list[str], caption: str) -> Group:
    if not group or group[0] not in _COUNTS:
        start = repr(" ".join(group)) if group else "nothing"
        raise ValueError(f"the caption {caption!r} has {start} where 'a', 'an' or 'two' and a noun are expected")
    count, phrase = _COUNTS[group[0]], group[1:]
    colour = phrase.pop(0) if phrase and phrase[0] in COLOURS else None
    name = " ".join(phrase)
    nouns = {noun: noun for noun in NOUNS} if count == 1 else _PLURALS
    if name in nouns:
        return Group(nouns[name], colour, count)
    if name in (_PLURALS if count == 1 else NOUNS):
        expected = f"'two {name}'" if count == 1 else f"'two {plural(name)}' or {_compose_group(Group(name))!r}"
        raise ValueError(f"the caption {caption!r} has the wrong number; write {expected}")
    last = next((" ".join(phrase[start:]) for start in range(1, len(phrase)) if " ".join(phrase[start:]) in nouns), None)
    if last is not None:
        unknown = " ".join(phrase[: len(phrase) - len(last.split())])
        raise ValueError(
            f"the caption {caption!r} has the unknown colour {unknown!r} of {last!r}; expected one of {', '.join(COLOURS)}"
        )
    raise ValueError(f"the caption {caption!r} has the unknown noun {name!r}; {_suggestion(name, tuple(nouns))}")


@functools.cache
def _icons() -> dict[str, dict[str, int]]:
    """Return the index of the icon of each noun in each style."""
    found = emoji.icons()
    concepts = {name: index for index, name in enumerate(found.names)}
    nouns = {concepts[concept]: noun for noun, concept in _CONCEPTS.items()}
    table: dict[str, dict[str, int]] = {noun: {} for noun in NOUNS}
    for index, (concept, style) in enumerate(zip(found.concepts.tolist(), found.styles.tolist(), strict=True)):
        if concept in nouns:
            table[nouns[concept]][STYLES[style]] = index
    return table


def styles_of(noun: str, *, coloured: bool = False) -> tuple[str, ...]:
    """Return the styles that have an icon of a noun; with ``coloured``, those whose icon has a dominant hue.

    Raises
    ------
    ValueError
        If there is no such noun.

    Examples
    --------
    >>> styles_of("octopus"), styles_of("panda", coloured=True)
    (('fluent', 'noto', 'fxemoji', 'twemoji', 'emojione'), ())
    """
    return _styles_of(Group(noun).noun, coloured)


@functools.cache
def _styles_of(noun: str, coloured: bool) -> tuple[str, ...]:
    hues = emoji.icons().hues
    return tuple(style for style, index in _icons()[noun].items() if not coloured or np.isfinite(hues[index]))


def _common_styles(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return the styles that can show all groups."""
    possible = [_styles_of(group.noun, group.colour is not None) for group in groups]
    return tuple(style for style in STYLES if all(style in styles for styles in possible))


@functools.cache
def colourable() -> tuple[str, ...]:
    """Return the nouns that can have a colour: their icons have a dominant hue in at least three styles.

    :func:`imggen_lib.datasets.emoji.dominant_hue` defines a dominant hue. People and parts of the body have no colour,
    because it could mean the skin or the clothes.

    Examples
    --------
    >>> "apple" in colourable(), "panda" in colourable()
    (True, False)
    """
    found = emoji.icons()
    people = {name for name, category in zip(found.names, found.categories, strict=True) if category == "People & Body"}
    return tuple(
        noun for noun in NOUNS if len(_styles_of(noun, True)) >= _MIN_COLOURED_STYLES and _CONCEPTS[noun] not in people
    )


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Combinations that no training image shows.

    Attributes
    ----------
    styles : frozenset of (noun, style)
        The icons that :func:`imggen_lib.datasets.emoji.held_out` holds out: near-copies of an icon in another style are
        held out together with it.
    colours : frozenset of (noun, colour)
        One colour of each noun of :func:`colourable`. No icon of the noun has this colour by itself.
    pairs : frozenset of (noun, noun)
        In alphabetical order. They are held out in all four relations.

    Examples
    --------
    >>> len(held_out().styles), len(held_out().colours), len(held_out().pairs)
    (185, 144, 7109)
    """

    styles: frozenset[tuple[str, str]]
    colours: frozenset[tuple[str, str]]
    pairs: frozenset[tuple[str, str]]


@functools.cache
def held_out() -> HeldOut:
    """Return the combinations that no training image shows. Each noun is in training images in other combinations.

    References
    ----------
    Lake and Baroni, "Generalization without systematicity: on the compositional skills of sequence-to-sequence recurrent
    networks", ICML 2018.

    Examples
    --------
    >>> held_out().styles.isdisjoint((d.first.noun, d.style) for d in sample_descriptions(100, rng=0))
    True
    """
    icons = emoji.held_out()
    styles = frozenset((noun, style) for noun, found in _icons().items() for style, i in found.items() if icons[i])
    rng = np.random.default_rng(1)
    colours = set()
    for noun in colourable():
        own = np.max([_shares_of_colours(index) for index in _icons()[noun].values()], axis=0)
        others = [colour for colour, share in zip(COLOURS, own, strict=True) if share < _MAX_OWN_SHARE]
        if others:
            colours.add((noun, others[rng.integers(len(others))]))
    first, second = np.nonzero(np.triu(rng.random((len(NOUNS), len(NOUNS))) < _PAIR_SHARE, 1))
    pairs = frozenset(_pair(NOUNS[i], NOUNS[j]) for i, j in zip(first, second, strict=True))
    return HeldOut(styles, frozenset(colours), pairs)


def _shares_of_colours(index: int) -> list[float]:
    """Return the share of an icon's pixels, without its background, with a hue near each colour; 1 for its dominant hue."""
    found = emoji.icons()
    hue, value, chroma = emoji.hue_value_chroma(found.images[index] / 255)
    foreground, coloured = (value - chroma < 0.96).sum(), chroma >= 0.15
    shares = []
    for low, high in COLOURS.values():
        near = _is_near(hue, low, high) & coloured
        shares.append(1.0 if _is_near(found.hues[index], low, high) else float(near.sum() / max(foreground, 1)))
    return shares


def _is_near(hue: Any, low: float, high: float) -> Any:
    return np.abs((hue - (low + high) / 2 + 180) % 360 - 180) <= (high - low) / 2 + _MARGIN


def _pair(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first < second else (second, first)


def held_out_kinds(description: Description) -> tuple[str, ...]:
    """Return which kinds of held-out combinations a description has: "style", "colour" and "pair", or none.

    A description without a style has no combination with a style.

    Examples
    --------
    >>> noun, colour = sorted(held_out().colours)[0]
    >>> held_out_kinds(Description(Group(noun, colour)))
    ('colour',)
    """
    return _kinds(description.groups, description.style)


def _kinds(groups: Sequence[Group], style: str | None) -> tuple[str, ...]:
    out = held_out()
    present = {
        "style": any((group.noun, style) in out.styles for group in groups),
        "colour": any((group.noun, group.colour) in out.colours for group in groups),
        "pair": len(groups) == 2 and _pair(groups[0].noun, groups[1].noun) in out.pairs,
    }
    return tuple(kind for kind, is_present in present.items() if is_present)


def sample_descriptions(n: int, *, rng: np.random.Generator | int, part: str = "train") -> list[Description]:
    """Sample random descriptions, each with a style.

    Half of them have two groups. 60 % of the groups whose icon has a dominant hue have a colour.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator or int
    part : str
        One of ``PARTS``: "train" has no held-out combination, any other part has one of that kind and none of another
        kind.

    Returns
    -------
    list of Description

    Raises
    ------
    ValueError
        If n is negative or there is no such part.

    Examples
    --------
    >>> {held_out_kinds(description) for description in sample_descriptions(20, rng=0, part="pair")}
    {('pair',)}
    """
    n = validate.integer(n, "n", minimum=0)
    validate.choice(part, "part", PARTS)
    rng = np.random.default_rng(rng)
    expected = () if part == "train" else (part,)
    descriptions: list[Description] = []
    while len(descriptions) < n:
        drawn = _draw(rng, part)
        if drawn is not None and _kinds(drawn[0], drawn[2]) == expected:
            groups, relation, style = drawn
            descriptions.append(Description(groups[0], relation, groups[1] if relation else None, style))
    return descriptions


@functools.cache
def _sorted_combinations(part: str) -> list[tuple[str, str]]:
    return sorted({"style": held_out().styles, "colour": held_out().colours, "pair": held_out().pairs}[part])


def _draw(rng: np.random.Generator, part: str) -> tuple[list[Group], str | None, str] | None:
    """Sample groups, a relation and a style around a combination of the part; None if the style cannot show them."""
    nouns = [NOUNS[index] for index in rng.integers(len(NOUNS), size=2)]
    style = STYLES[rng.integers(len(STYLES))]
    colour = None
    if part != "train":
        combinations = _sorted_combinations(part)
        first, second = combinations[rng.integers(len(combinations))]
        nouns[0] = first
        if part == "style":
            style = second
        elif part == "colour":
            colour = second
        else:
            nouns[1] = second
    # Reversed half of the time, so that the combination is not always in the first group.
    order = rng.permutation(2)
    relation = RELATIONS[rng.integers(len(RELATIONS))] if part == "pair" or rng.random() < _RELATION_RATE else None
    groups = []
    for noun in nouns if relation else nouns[:1]:
        if colour is None and style in _styles_of(noun, True) and noun in colourable() and rng.random() < _COLOUR_RATE:
            colour = tuple(COLOURS)[rng.integers(len(COLOURS))]
        groups.append(Group(noun, colour, int(rng.integers(1, 3))))
        colour = None
    if style not in _common_styles(groups) or (relation and nouns[0] == nouns[1]):
        return None
    return [groups[index] for index in order] if relation else groups, relation, style


def layout(description: Description, *, rng: np.random.Generator | int) -> NDArray[np.intp]:
    """Return where the objects of an image are: they never overlap, and lie as the relation states.

    With a relation, each group has its half of the image, in which two objects lie across the direction of the relation.
    Positions and sizes are random in these cells.

    Parameters
    ----------
    description : Description
    rng : numpy.random.Generator or int

    Returns
    -------
    numpy.ndarray
        int ``(k, 4)``, one row for each object: 0 for the first group or 1 for the second, the left column and the top
        row of its square, and its side, in pixels of an image of 64×64.

    Examples
    --------
    The octopuses are left of the house:

    >>> found = layout(Description(Group("octopus", count=2), "left of", Group("house")), rng=0)
    >>> found[:, 0].tolist(), bool(found[:2, 1].max() < found[2, 1])
    ([0, 0, 1], True)
    """
    rng = np.random.default_rng(rng)
    horizontal = description.relation in ("left of", "right of")
    if description.relation is None:
        horizontal = bool(rng.integers(2))
    # One cell (left, top, width, height) for each group, then one for each object.
    whole = (0, 0, _SIZE, _SIZE)
    cells = [whole] if description.relation is None else _halves(whole, horizontal)
    if description.relation in ("right of", "below"):
        cells = cells[::-1]
    rows = []
    for index, (group, cell) in enumerate(zip(description.groups, cells, strict=True)):
        across = horizontal if description.relation is None else not horizontal
        for left, top, width, height in [cell] if group.count == 1 else _halves(cell, across):
            alone = width == height == _SIZE
            side = rng.integers(*(_SIDES_ALONE if alone else _SIDES), endpoint=True)
            # In a long cell, an object stays near the middle, so that the relation is clear.
            x, y = (
                rng.integers(margin, length - side - margin, endpoint=True)
                for length, margin in ((width, _margin(width, alone)), (height, _margin(height, alone)))
            )
            rows.append((index, left + x, top + y, side))
    return np.array(rows)


def _margin(length: int, alone: bool) -> int:
    return 8 if length == _SIZE and not alone else 0


def _halves(cell: tuple[int, int, int, int], horizontal: bool) -> list[tuple[int, int, int, int]]:
    left, top, width, height = cell
    if horizontal:
        return [(left, top, width // 2, height), (left + width // 2, top, width // 2, height)]
    return [(left, top, width, height // 2), (left, top + height // 2, width, height // 2)]


def turn_hue(image: ArrayLike, degrees: float) -> NDArray[np.floating]:
    """Return an image with all hues turned by an angle. Greys, value and chroma do not change.

    Parameters
    ----------
    image : array_like
        Floating-point ``(..., 3)`` in [0, 1].
    degrees : float
        0 to 360; 120 turns red to green.

    Returns
    -------
    numpy.ndarray

    References
    ----------
    Smith, "Color gamut transform pairs", SIGGRAPH 1978.

    Examples
    --------
    Red turns to green, grey stays grey:

    >>> turn_hue([[1.0, 0.25, 0.25], [0.5, 0.5, 0.5]], 120).tolist()
    [[0.25, 1.0, 0.25], [0.5, 0.5, 0.5]]
    """
    pixels = validate.real_array(image, "image")
    if pixels.shape[-1:] != (3,):
        raise ValueError(f"image has the shape {pixels.shape}; expected (..., 3)")
    hue, value, chroma = emoji.hue_value_chroma(pixels)
    sector = (np.array([5, 3, 1]) + ((hue + degrees) / 60)[..., np.newaxis]) % 6
    turned = value[..., np.newaxis] - chroma[..., np.newaxis] * np.clip(np.minimum(sector, 4 - sector), 0, 1)
    return turned.astype(pixels.dtype)


def render(
    descriptions: Description | Sequence[Description], *, rng: np.random.Generator | int, size: int = 64
) -> NDArray[np.float32]:
    """Render one image of each description. Everything that it does not state is random.

    Positions, sizes and the exact hue within a colour's interval are random. A style that is not stated is random among
    those that can show the nouns and are not held out for them.

    Parameters
    ----------
    descriptions : Description or sequence of Description
    rng : numpy.random.Generator or int
    size : {64, 32}
        Height and width in pixels; 32 averages squares of four pixels.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, size, size, 3)`` in [0, 1], on white.

    Raises
    ------
    TypeError
        If an item is not a :class:`Description`; :func:`parse` makes one of a caption.
    ValueError
        If the size is neither of these, or all styles that could show a description without a style are held out.

    Examples
    --------
    >>> images = render(parse("a red apple left of a blue car, noto style"), rng=0)
    >>> images.shape, bool(images[0, :, :32, 0].mean() > images[0, :, 32:, 0].mean())
    ((1, 64, 64, 3), True)
    """
    validate.choice(size, "size", _SIZES)
    items = [descriptions] if isinstance(descriptions, Description) else list(descriptions)
    rng = np.random.default_rng(rng)
    images = np.ones((len(items), _SIZE, _SIZE, 3), np.float32)
    for image, description in zip(images, items, strict=True):
        if not isinstance(description, Description):
            raise TypeError(f"descriptions has the item {description!r}; expected a Description, as parse returns")
        _render(image, description, rng)
    factor = _SIZE // size
    return images if factor == 1 else images.reshape(-1, size, factor, size, factor, 3).mean(axis=(2, 4))


def _render(canvas: NDArray[np.float32], description: Description, rng: np.random.Generator) -> None:
    style, found = _choose_style(description, rng), emoji.icons()
    indices = [_icons()[group.noun][style] for group in description.groups]
    angles = [_angle(group.colour, float(found.hues[i]), rng) for group, i in zip(description.groups, indices, strict=True)]
    for group, left, top, side in layout(description, rng=rng):
        icon = PIL.Image.fromarray(found.images[indices[group]])
        # The filter averages all pixels below a pixel of the result, without overshooting at edges.
        pixels = np.asarray(icon.resize((side, side), PIL.Image.Resampling.HAMMING), np.float32) / np.float32(255)
        angle = angles[group]
        canvas[top : top + side, left : left + side] = pixels if angle is None else turn_hue(pixels, angle)


def _choose_style(description: Description, rng: np.random.Generator) -> str:
    if description.style is not None:
        return description.style
    out = held_out().styles
    nouns = [group.noun for group in description.groups]
    possible = [x for x in _common_styles(description.groups) if not any((noun, x) in out for noun in nouns)]
    if not possible:
        raise ValueError(f"all styles of {compose(description)!r} are held out: state the style")
    return possible[rng.integers(len(possible))]


def _angle(colour: str | None, hue: float, rng: np.random.Generator) -> float | None:
    """Return the angle that turns a hue to a random hue in the middle half of the colour's interval."""
    if colour is None:
        return None
    low, high = COLOURS[colour]
    return float((low + high) / 2 + (high - low) * rng.uniform(-0.25, 0.25) - hue)


def sample(
    n: int, *, rng: np.random.Generator | int, part: str = "train", size: int = 64
) -> tuple[list[str], NDArray[np.float32]]:
    """Sample random captions and render them.

    Half of the captions do not state the style; those of the part "style" always do.

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator or int
    part : str
        One of ``PARTS``; see :func:`sample_descriptions`.
    size : {64, 32}

    Returns
    -------
    captions : list of str
    images : numpy.ndarray
        float32 ``(n, size, size, 3)`` in [0, 1].

    Raises
    ------
    ValueError
        If there is no such part or size.

    Examples
    --------
    >>> captions, images = sample(2, rng=0, size=32)
    >>> len(captions), images.shape
    (2, (2, 32, 32, 3))
    """
    rng = np.random.default_rng(rng)
    descriptions = sample_descriptions(n, rng=rng, part=part)
    images = render(descriptions, rng=rng, size=size)
    stated = (rng.random(n) >= STYLE_OMISSION_RATE) | (part == "style")
    captions = [
        compose(description if keep else dataclasses.replace(description, style=None))
        for description, keep in zip(descriptions, stated, strict=True)
    ]
    return captions, images
