"""The table of what the five texts have and where the book has it, held against the pages."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "_ext"), str(ROOT / "tools")]

import book  # noqa: E402
import imggen_book  # noqa: E402

COVERAGE = yaml.safe_load(imggen_book.COVERAGE.read_text())
TEXTS, PARTS = COVERAGE["texts"], COVERAGE["parts"]
PLACES = [pytest.param(place, id=f"{place['page']}-{place.get('at', '')}") for part in PARTS for place in part["where"]]


def text_of(page):
    """What the source of a page says, its cells one after the other."""
    file = ROOT / "chapters" / f"{page}.md"
    if file.is_file():
        return file.read_text()
    return "\n".join("".join(cell["source"]) for cell in json.loads(file.with_suffix(".ipynb").read_text())["cells"])


def under(heading, text):
    """What stands under a heading, up to the next one that is as high or higher; None if there is no such heading."""
    found = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^(?!\1#)#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return found and found[2]


def says(text, words):
    text = " ".join(text.split()).lower()
    return [word for word in words if word.lower() not in text] == []


@pytest.mark.parametrize("place", PLACES)
def test_each_place_exists_and_has_the_words_that_it_is_named_for(place):
    page = place["page"]
    assert f"chapters/{page}" in book.pages(ROOT)
    text = text_of(page)
    if "at" in place:
        text = under(place["at"], text)
        assert text is not None, f"{page} has no heading {place['at']}"
    assert place["shows"]
    assert [word for word in place["shows"] if not says(text, [word])] == []


def test_parts_and_their_places_are_said_once_and_none_is_empty():
    assert [what for what, times in Counter(part["what"] for part in PARTS).items() if times > 1] == []
    for part in PARTS:
        assert set(part) <= {"what", "mistake", "in", "where"}, part
        assert part["what"] and part["in"] and part["where"], part
        places = [(place["page"], place.get("at")) for place in part["where"]]
        assert len(set(places)) == len(places), part
        assert all(set(place) <= {"page", "at", "shows"} and all(place["shows"]) for place in part["where"]), part


def test_every_section_of_every_text_has_a_place():
    assert len(TEXTS) == 5
    said = {(letter, number) for part in PARTS for letter, numbers in part["in"].items() for number in numbers}
    assert said == {(letter, number) for letter, text in TEXTS.items() for number in text["sections"]}


def test_the_page_shows_every_part_under_every_text_that_has_it():
    page = text_of("outlook/coverage")
    for letter, text in TEXTS.items():
        assert f"{{coverage}} {letter}\n" in under(text["title"], page)
        shown = [part["what"] for part, _ in imggen_book.parts_of(COVERAGE, letter)]
        assert Counter(shown) == Counter(part["what"] for part in PARTS if letter in part["in"])


def test_every_mistake_is_told_among_the_corrections_and_every_correction_is_in_the_table():
    told = re.findall(r"^- \*\*.*?(?=^- |^#|\Z)", text_of("outlook/corrections"), re.MULTILINE | re.DOTALL)
    words = []
    for part in PARTS:
        places = [place for place in part["where"] if place["page"] == "outlook/corrections"]
        assert bool(places) == part.get("mistake", False), part["what"]
        words += [word for place in places for word in place["shows"]]
    assert [word for word in words if not any(says(correction, [word]) for correction in told)] == []
    assert [correction for correction in told if not any(says(correction, [word]) for word in words)] == []
