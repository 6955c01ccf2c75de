"""Citations and bibliography by author and year, with the same label at both places: [Karras et al., 2020a]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

import pybtex.plugin
import sphinxcontrib.bibtex.plugin
from pybtex.database import Entry, Person
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.label import LabelReferenceStyle


def surname(person: Person) -> str:
    """Return the last name of a person with its particles, or the name of an institution.

    >>> surname(Person("van den Oord, Aaron")), surname(Person("{Stability AI}"))
    ('van den Oord', 'Stability AI')
    """
    return " ".join(str(part) for part in [*person.rich_prelast_names, *person.rich_last_names])


def author_and_year(entry: Entry) -> str:
    """Return the label of an entry, without the letter that distinguishes equal labels."""
    names = [surname(person) for person in entry.persons["author"]]
    authors = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    return f"{authors}, {entry.fields['year']}"


class AuthorYearLabels(BaseLabelStyle):
    """Labels such as "Karras et al., 2020a". Only labels that would be equal have a letter, in the order of the list."""

    def format_labels(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Yield a label for each entry."""
        labels = [author_and_year(entry) for entry in entries]
        times, used = Counter(labels), Counter[str]()
        for label in labels:
            letter = ascii_lowercase[used[label]] if times[label] > 1 else ""
            used[label] += 1
            yield label + letter


class AuthorYearStyle(Style):
    """The style "plain", which sorts by author, year and title, with these labels instead of numbers."""

    default_label_style = AuthorYearLabels


@dataclass
class AuthorYearReferences(LabelReferenceStyle):
    """Citations by label, with a semicolon between two of them."""

    bracket_parenthetical: BracketStyle = field(default_factory=lambda: BracketStyle(sep="; "))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both styles under the name "author_and_year"."""
    pybtex.plugin.register_plugin("pybtex.style.formatting", "author_and_year", AuthorYearStyle)
    name = "sphinxcontrib.bibtex.style.referencing"
    sphinxcontrib.bibtex.plugin.register_plugin(name, "author_and_year", AuthorYearReferences)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
