"""The entries of the bibliography: whether they are complete, valid, unique and cited."""

import datetime
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_file, parse_string

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "_ext"))

import author_year  # noqa: E402

ENTRIES = parse_file(ROOT / "references.bib").entries

NEEDED = {
    "article": ["title", "journal", "year"],
    "inproceedings": ["title", "booktitle", "year"],
    "book": ["title", "publisher", "year"],
    "techreport": ["title", "institution", "year"],
    "misc": ["title", "year"],
}
# Standards, laws, software and reports, which may be identified by an address alone.
IDENTIFIED_BY_ADDRESS = {"misc", "techreport"}
# Permanent addresses, at a publisher or a national archive, of papers without a DOI.
ARCHIVES = (
    "https://proceedings.mlr.press/v",
    "https://proceedings.neurips.cc/paper/",
    "https://openreview.net/forum?id=",
    "https://jmlr.org/papers/v",
    "https://www.ijcai.org/Proceedings/",
    "https://inria.hal.science/",
    "https://approximateinference.org/",
)
# References of a source text that were never published.
UNPUBLISHED = {
    "dall e creating images from text",
    "unsupervised representation learning with deep neural networks",
    "progressive growing of gans for image synthesis",
    "improved techniques for stable training of very deep networks",
    "improved training of recurrent neural networks via gradient estimation",
    "cgans conditional generative adversarial networks",
}


def plain(title):
    """Return a title without braces, accent commands, punctuation and capitals."""
    return " ".join(re.sub(r"[^\w]+", " ", re.sub(r"\\[a-z]+(?![a-z])|[{}\\]", "", title.lower())).split())


def is_isbn(text):
    if not re.fullmatch(r"97[89]\d{10}", text):
        return False
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(text)) % 10 == 0


def is_arxiv(text):
    number = re.fullmatch(r"(\d\d)(\d\d)\.(\d{4,5})", text)
    if number is None:
        return bool(re.fullmatch(r"[a-z-]+(\.[A-Z]{2})?/\d{7}", text))
    # Since January 2015 the numbers have five digits.
    return 1 <= int(number[2]) <= 12 and len(number[3]) == (4 if number[1] < "15" else 5)


def faults(entry):
    """Return the faults of an entry as a list of texts."""
    fields = entry.fields
    found = [f"no {name}" for name in NEEDED.get(entry.type, []) if not fields.get(name, "").strip()]
    if entry.type not in NEEDED:
        found.append(f"unknown type {entry.type}")

    people = [str(person) for person in entry.persons.get("author", [])]
    if not people or people[0] == "others" or any("and others" in person for person in people):
        found.append("no author by name")

    year = fields.get("year", "")
    if not re.fullmatch(r"\d{4}", year) or not 1700 <= int(year) <= datetime.date.today().year:
        found.append("no plausible year")

    if "doi" in fields and not re.fullmatch(r"10\.\d{4,9}/[^\s{}]+", fields["doi"]):
        found.append("not a DOI")
    if "isbn" in fields and not is_isbn(fields["isbn"]):
        found.append("not an ISBN")
    if "url" in fields and not re.fullmatch(r"https?://[\w.-]+\.[a-z]{2,}(/[^\s{}\\]*)?", fields["url"]):
        found.append("not an address")
    if "eprint" in fields and not (fields.get("archivePrefix") == "arXiv" and is_arxiv(fields["eprint"])):
        found.append("not an arXiv number")
    # A paper cannot be published long before its preprint.
    elif "eprint" in fields and year.isdigit() and "." in fields["eprint"]:
        first = 2000 + int(fields["eprint"][:2])
        if not (first <= int(year) + 1 and int(year) <= first + 5):
            found.append("the year does not fit the arXiv number")
    if "arxiv" in fields.get("note", "").lower():
        found.append("an arXiv number among the notes")

    if "pages" in fields and not re.fullmatch(r"\w+|(\w+:)?\d+--(\w+:)?\d+", fields["pages"]):
        found.append("pages without --")
    elif (span := re.fullmatch(r"(\d+)--(\d+)", fields.get("pages", ""))) and int(span[1]) > int(span[2]):
        found.append("pages run backwards")

    numbered = {"doi", "eprint", "isbn"} & set(fields)
    permanent = "url" in fields and (entry.type in IDENTIFIED_BY_ADDRESS or fields["url"].startswith(ARCHIVES))
    if not numbered and not permanent:
        found.append("nothing to find it by")
    return found


def repeated(entries):
    """Return identifiers and titles that several entries share."""
    values = []
    for entry in entries.values():
        values += [(name, entry.fields[name].lower()) for name in ("doi", "eprint", "isbn") if name in entry.fields]
        values.append(("title", plain(entry.fields["title"])))
    return sorted(value for value, times in Counter(values).items() if times > 1)


def cited(text):
    return {key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")}


def text_of_the_book():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    texts = [path.read_text() for path in (ROOT / "benchmarks").glob("*.md")]
    for page in pages:
        if (ROOT / f"{page}.ipynb").is_file():
            texts += ["".join(cell["source"]) for cell in json.loads((ROOT / f"{page}.ipynb").read_text())["cells"]]
        else:
            texts.append((ROOT / f"{page}.md").read_text())
    return "\n".join(texts)


@pytest.mark.parametrize("key", ENTRIES)
def test_an_entry_is_complete_and_valid(key):
    assert faults(ENTRIES[key]) == []


def test_entries_and_citations_match():
    used = cited(text_of_the_book())
    assert sorted(set(ENTRIES) - used) == []
    assert sorted(used - set(ENTRIES)) == []


def test_entries_are_unique():
    assert repeated(ENTRIES) == []
    keys = re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "references.bib").read_text(), re.MULTILINE)
    assert len(keys) == len(ENTRIES) == len({key.lower() for key in keys})


def test_the_bibliography_is_sorted_and_labelled_by_author_and_year():
    style = author_year.AuthorYearStyle()
    entries = style.sort(ENTRIES.values())
    labels = list(style.format_labels(entries))
    assert len(set(labels)) == len(ENTRIES)
    for label, entry in zip(labels, entries, strict=True):
        assert label.startswith(author_year.surname(entry.persons["author"][0]))
        assert re.search(rf", {entry.fields['year']}[a-z]?$", label)
    names = [plain(label) for label in labels]
    assert {"friedman 2001", "chesney and citron 2019", "stability ai 2024a"} <= set(names)
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert config["bibtex_default_style"] == config["bibtex_reference_style"] == "author_and_year"


def test_unpublished_references_of_the_source_texts_are_absent():
    titles = {plain(entry.fields["title"]) for entry in ENTRIES.values()}
    assert titles & UNPUBLISHED == set()
    assert plain("Dall-e: creating images from {Text}") in UNPUBLISHED


# The functions above, tested on entries with one fault each.

GOOD = {
    "type": "article",
    "author": "{von Neumann, John and others}",
    "title": "{A title}",
    "journal": "{A journal}",
    "pages": "{1--14}",
    "year": "{2014}",
    "doi": "{10.1000/xyz(82)90077-X}",
    "eprint": "{1312.6114}",
    "archivePrefix": "{arXiv}",
}


def entry(**changes):
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    kind = fields.pop("type")
    lines = ",\n".join(f"{name} = {value}" for name, value in fields.items())
    return parse_string(f"@{kind}{{key,\n{lines}\n}}", "bibtex").entries["key"]


def test_equal_labels_have_letters_in_the_order_of_the_list():
    entries = [entry(author=f"{{{author}}}") for author in ("Karras, A", "Karras, B", "Aila, C and van Beek, D")]
    labels = list(author_year.AuthorYearLabels().format_labels(entries))
    assert labels == ["Karras, 2014a", "Karras, 2014b", "Aila and van Beek, 2014"]


BARE = {"doi": None, "eprint": None, "archivePrefix": None}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pages": "{e453}"},
        {"pages": "{139:1--139:14}"},
        {"eprint": "{math/0309285}"},
        {**BARE, "isbn": "{9780262035613}"},
        {**BARE, "type": "inproceedings", "booktitle": "{B}", "url": "{https://openreview.net/forum?id=Sy2fzU9gl}"},
        {**BARE, "type": "misc", "url": "{https://www.w3.org/TR/WCAG22/}"},
    ],
)
def test_a_valid_entry_has_no_faults(changes):
    assert faults(entry(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"type": "thesis"}, "unknown type thesis"),
        ({"title": None}, "no title"),
        ({"title": "{ }"}, "no title"),
        ({"journal": None}, "no journal"),
        ({"type": "inproceedings"}, "no booktitle"),
        ({"type": "book"}, "no publisher"),
        ({"type": "techreport"}, "no institution"),
        ({"author": None}, "no author by name"),
        ({"author": "{others}"}, "no author by name"),
        ({"author": "{{An office and others}}"}, "no author by name"),
        ({"year": None}, "no year"),
        ({"year": "{MMXIV}"}, "no plausible year"),
        ({"year": "{2114}"}, "no plausible year"),
        ({"year": "{1014}"}, "no plausible year"),
        ({"doi": "{https://doi.org/10.1000/xyz}"}, "not a DOI"),
        ({"doi": "{doi:10.1000/xyz}"}, "not a DOI"),
        ({"doi": "{10.1000}"}, "not a DOI"),
        ({"doi": "{11.1000/xyz}"}, "not a DOI"),
        ({"doi": "{10.1000/x yz}"}, "not a DOI"),
        ({"eprint": "{arXiv:1312.6114}"}, "not an arXiv number"),
        ({"eprint": "{1313.6114}"}, "not an arXiv number"),
        ({"eprint": "{1312.61140}"}, "not an arXiv number"),
        ({"eprint": "{1512.6114}"}, "not an arXiv number"),
        ({"archivePrefix": None}, "not an arXiv number"),
        ({"eprint": "{2012.09841}"}, "the year does not fit the arXiv number"),
        ({"eprint": "{0712.0001}"}, "the year does not fit the arXiv number"),
        ({"isbn": "{9780262035614}"}, "not an ISBN"),
        ({"isbn": "{978-0-262-03561-3}"}, "not an ISBN"),
        ({"isbn": "{0262035618}"}, "not an ISBN"),
        ({"url": "{www.example.org/paper}"}, "not an address"),
        ({"url": "{https://example.org/a paper}"}, "not an address"),
        ({"note": "{arXiv:1312.6114}"}, "an arXiv number among the notes"),
        ({"pages": "{1-14}"}, "pages without --"),
        ({"pages": "{1 -- 14}"}, "pages without --"),
        ({"pages": "{1\N{EN DASH}14}"}, "pages without --"),
        ({"pages": "{14--1}"}, "pages run backwards"),
        (BARE, "nothing to find it by"),
        ({**BARE, "url": "{https://example.org/paper.pdf}"}, "nothing to find it by"),
        ({**BARE, "type": "misc"}, "nothing to find it by"),
    ],
)
def test_a_fault_of_an_entry_is_reported(changes, fault):
    assert fault in faults(entry(**changes))


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ({"title": "{Another}", "eprint": None, "doi": "{10.1000/XYZ(82)90077-x}"}, ("doi", "10.1000/xyz(82)90077-x")),
        ({"title": "{Another}", "doi": None}, ("eprint", "1312.6114")),
        ({"title": "{A {Title}!}", "doi": None, "eprint": None}, ("title", "a title")),
    ],
)
def test_entries_with_the_same_identifier_or_title_are_reported(other, shared):
    assert repeated({"one": entry(), "two": entry(**other)}) == [shared]
    assert repeated({"one": entry(), "two": entry(title="{Another}", doi=None, eprint=None)}) == []


def test_citations_are_found_alone_in_groups_and_with_a_style():
    assert cited("as {cite}`one` and {cite:t}`two, three` say; `{cite}` is a role") == {"one", "two", "three"}
