"""The table of the contents of the five source texts and of where the book covers them, compared with the pages."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "tools"))

import book  # noqa: E402

COVERAGE = yaml.safe_load(Path(__file__).with_name("coverage.yml").read_text())
TEXTS, PARTS = COVERAGE["texts"], COVERAGE["parts"]
PLACES = [pytest.param(place, id=f"{place['page']}-{place.get('at', '')}") for part in PARTS for place in part["where"]]


def text_of(page):
    """Return the source of a page; of a notebook, the sources of all cells."""
    file = ROOT / "chapters" / f"{page}.md"
    if file.is_file():
        return file.read_text()
    return "\n".join("".join(cell["source"]) for cell in json.loads(file.with_suffix(".ipynb").read_text())["cells"])


def under(heading, text):
    """Return the text below a heading, up to the next heading of the same or a higher level; None without the heading."""
    found = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^(?!\1#)#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return found and found[2]


def contains(text, words):
    text = " ".join(text.split()).lower()
    return [word for word in words if word.lower() not in text] == []


@pytest.mark.parametrize("place", PLACES)
def test_each_place_exists_and_contains_the_listed_words(place):
    page = place["page"]
    assert f"chapters/{page}" in book.pages(ROOT)
    text = text_of(page)
    if "at" in place:
        text = under(place["at"], text)
        assert text is not None, f"{page} has no heading {place['at']}"
    assert place["shows"]
    assert [word for word in place["shows"] if not contains(text, [word])] == []


def test_parts_and_places_are_unique_and_not_empty():
    assert [what for what, times in Counter(part["what"] for part in PARTS).items() if times > 1] == []
    for part in PARTS:
        assert set(part) <= {"what", "mistake", "in", "where"}, part
        assert part["what"] and part["in"] and part["where"], part
        places = [(place["page"], place.get("at")) for place in part["where"]]
        assert len(set(places)) == len(places), part
        assert all(set(place) <= {"page", "at", "shows"} and all(place["shows"]) for place in part["where"]), part


def test_every_section_of_every_text_has_a_part():
    assert len(TEXTS) == 5
    covered = {(letter, number) for part in PARTS for letter, numbers in part["in"].items() for number in numbers}
    assert covered == {(letter, number) for letter, text in TEXTS.items() for number in text["sections"]}


def test_mistakes_in_the_table_and_the_page_of_corrections_agree():
    corrections = re.findall(r"^- \*\*.*?(?=^- |^#|\Z)", text_of("outlook/corrections"), re.MULTILINE | re.DOTALL)
    words = []
    for part in PARTS:
        places = [place for place in part["where"] if place["page"] == "outlook/corrections"]
        assert bool(places) == part.get("mistake", False), part["what"]
        words += [word for place in places for word in place["shows"]]
    assert [word for word in words if not any(contains(correction, [word]) for correction in corrections)] == []
    assert [correction for correction in corrections if not any(contains(correction, [word]) for word in words)] == []
