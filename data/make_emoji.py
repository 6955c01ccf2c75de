"""Write the embedded emoji from five npm packages: ``python data/make_emoji.py [FOLDER]``.

The packages hold the bodies of SVG files. This script downloads them with ``npm pack`` to FOLDER, or to a temporary
folder, compares each with its checksum, matches icons of the same concept by Unicode code point, and renders them with
the Python package ``resvg_py`` at 64×64 on white. It needs ``npm`` and ``resvg_py``; the library needs neither.

The pixels depend only on the packages and on the version of ``resvg_py``, the file also on the versions of Pillow and
libwebp, which compresses without loss. The record names all of them, and the checksums of the file and of the pixels.
"""

from __future__ import annotations

import hashlib
import io as bytes_io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import PIL.features
import PIL.Image
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from imggen_lib import io
from imggen_lib.datasets import emoji

__all__ = ["CharacterTable", "aligned", "distances", "is_wanted", "main", "near_copies", "normalised", "sheet", "svg"]

SIZE = 64
COLUMNS = 32
MIN_STYLES = 3
# Two icons are near-copies if their distance is below the first threshold for one concept in two styles, or below the
# second for two concepts. Chosen by eye: below 0.35, pairs have the same outline and colours and differ in details;
# beyond 0.4, most differ in pose or proportions. Icons of two concepts with the same outline, such as faces, reach 0.2
# although they differ.
MAX_DISTANCE_OF_STYLES, MAX_DISTANCE_OF_CONCEPTS = 0.35, 0.15
RENDERER = ("resvg_py", "0.5.0")

# The package of each style, its version and the SHA-256 of the archive that npm packs.
PACKAGES = {
    "fluent": (
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "noto": ("@iconify-json/noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "fxemoji": ("@iconify-json/fxemoji", "1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"),
    "twemoji": ("@iconify-json/twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    "emojione": ("@iconify-json/emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
}
# Names and categories of code points.
CHARACTERS = ("unicode-emoji-json", "0.9.0", "ae7efacb55533385bf8767d613dbd36c71226669759d95919a6e9059f5e4c401")

LICENCES = {
    "fluent": "MIT, Copyright Microsoft Corporation",
    "noto": "Apache-2.0, Copyright Google LLC",
    "fxemoji": "Apache-2.0 and, for the visual design, CC BY 4.0, Copyright 2015 Mozilla Foundation",
    "twemoji": "CC BY 4.0, Copyright Twitter, Inc and other contributors",
    "emojione": "CC BY 4.0, EmojiOne 2 and EmojiTwo contributors",
}

# Categories without pictures of things: flags, and signs such as arrows, letters, digits and the zodiac.
LEFT_OUT_CATEGORIES = ("Flags", "Symbols")
JOINER, RIGHT_ARROW = 0x200D, 0x27A1
SKIN_TONES = range(0x1F3FB, 0x1F400)
GENDER_SIGNS = (0x2640, 0x2642)
MAN_AND_WOMAN = (0x1F468, 0x1F469)
CLOCK_FACES = range(0x1F550, 0x1F568)
# Couples and groups that state a gender and have a neutral form, and pictures of text: the "100 points" sign, bubbles.
LEFT_OUT = {0x1F46B, 0x1F46C, 0x1F46D, 0x1F4AF, 0x1F4A2, 0x1F4A4, 0x1F4AC, 0x1F5E8, 0x1F5EF, 0x1F4AD, 0x1F441}

# Names in fxemoji that are neither the name of the Unicode standard nor the short name of CLDR.
FXEMOJI_NAMES = {
    "2hearts": "two hearts",
    "angry": "angry face",
    "anguish": "anguished face",
    "astonished": "astonished face",
    "banknotedollar": "dollar banknote",
    "banknoteeuro": "euro banknote",
    "banknotepound": "pound banknote",
    "banknoteyen": "yen banknote",
    "beachumbrella": "umbrella on ground",
    "boot": "woman’s boot",
    "bouquetofflowers": "bouquet",
    "bunny": "rabbit face",
    "bunnyside": "rabbit",
    "cat": "cat face",
    "catside": "cat",
    "cellphone": "mobile phone",
    "chartdownwardstrend": "chart decreasing",
    "chartupwardstrend": "chart increasing",
    "chilipepper": "hot pepper",
    "clap": "clapping hands",
    "construct": "construction worker",
    "controlknob": "control knobs",
    "cop": "police officer",
    "dog": "dog face",
    "dogside": "dog",
    "dragonhead": "dragon face",
    "dragonside": "dragon",
    "evergreen": "evergreen tree",
    "fallingleaf": "fallen leaf",
    "fishcakeswirl": "fish cake with swirl",
    "flexbicep": "flexed biceps",
    "folder": "file folder",
    "forkknife": "fork and knife",
    "framewithtiles": "framed picture",
    "frontfacingchick": "front-facing baby chick",
    "gem": "gem stone",
    "gma": "old woman",
    "gpa": "old man",
    "hampster": "hamster",
    "heartarrow": "heart with arrow",
    "heartblue": "blue heart",
    "heartgreen": "green heart",
    "heartpurple": "purple heart",
    "heartribbon": "heart with ribbon",
    "heartyellow": "yellow heart",
    "hearteyes": "smiling face with heart-eyes",
    "heels": "high-heeled shoe",
    "highspeedtrainbulletnose": "bullet train",
    "japaneseangrymask": "ogre",
    "leaffluttering": "leaf fluttering in wind",
    "leopardside": "leopard",
    "lips": "mouth",
    "loudlycrying": "loudly crying face",
    "manltepiececlock": "mantelpiece clock",
    "medicalmask": "face with medical mask",
    "mensshoe": "man’s shoe",
    "monkeyhear": "hear-no-evil monkey",
    "monkeysee": "see-no-evil monkey",
    "monkeyspeak": "speak-no-evil monkey",
    "mouse": "mouse face",
    "mouseside": "mouse",
    "oldpersonalcomputer": "desktop computer",
    "openfolder": "open file folder",
    "opticaldiscicon": "optical disk",
    "pig": "pig face",
    "pigside": "pig",
    "pigsnout": "pig nose",
    "poo": "pile of poo",
    "present": "wrapped gift",
    "printericon": "printer",
    "racecar": "racing car",
    "raincloud": "cloud with rain",
    "sandals": "woman’s sandal",
    "silhouetteohjapan": "map of Japan",
    "snowcloud": "cloud with snow",
    "snowmountains": "snow-capped mountain",
    "spurtingwhale": "spouting whale",
    "stormcloud": "cloud with lightning",
    "studiomic": "studio microphone",
    "sunraincloud": "sun behind rain cloud",
    "swimming": "person swimming",
    "tennisball": "tennis",
    "tie": "necktie",
    "tiger": "tiger face",
    "tigerside": "tiger",
    "toykotower": "Tokyo tower",
    "videocasette": "videocassette",
    "whitesun": "sun",
    "whitesunsmallcloud": "sun behind small cloud",
    "womansshirt": "woman’s clothes",
}

# Icons that are damaged in the package (outside their box, or without their style sheet), or show another thing than the
# character of that name: lips, a window of a computer, a cricket bat.
LEFT_OUT_ICONS = {"fxemoji": ("heartblue", "tramcar", "kiss", "window"), "emojione": ("cricket",)}

CodePoints = tuple[int, ...]


def normalised(name: str) -> str:
    """Return a name with letters and digits only, to compare the names of different packages.

    Examples
    --------
    >>> normalised("Man's shoe"), normalised("mans-shoe")
    ('mansshoe', 'mansshoe')
    """
    ascii_name = unicodedata.normalize("NFKD", name.lower().replace("&", "and")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", ascii_name)


def _code_points(text: str) -> CodePoints:
    """Return code points without the variation selector, which some packages write and others omit."""
    return tuple(ord(character) for character in text if character != "\ufe0f")


def is_wanted(code_points: CodePoints, category: str) -> bool:
    """Return whether a character is a picture of a thing: no flag, sign, clock face, or variant of tone, gender or side.

    Examples
    --------
    >>> is_wanted((0x1F34E,), "Food & Drink"), is_wanted((0x1F555,), "Travel & Places")
    (True, False)
    """
    if category in LEFT_OUT_CATEGORIES or not LEFT_OUT.isdisjoint(code_points):
        return False
    if code_points[0] in CLOCK_FACES or any(point in SKIN_TONES or point in GENDER_SIGNS for point in code_points):
        return False
    # Occupations, families and couples of a man or a woman; the neutral forms begin with a person. And facing right.
    return JOINER not in code_points or not (code_points[0] in MAN_AND_WOMAN or code_points[-1] == RIGHT_ARROW)


class CharacterTable:
    """Names and categories of all emoji in the order of the Unicode standard, from the package ``CHARACTERS``."""

    def __init__(self, content: dict[str, dict[str, str]]) -> None:
        self.facts = {_code_points(text): facts for text, facts in content.items()}
        candidates: dict[str, set[CodePoints]] = defaultdict(set)
        short_names: dict[str, CodePoints] = {}
        for code_points, facts in self.facts.items():
            short_names[normalised(facts["name"])] = code_points
            if len(code_points) == 1:
                candidates[normalised(unicodedata.name(chr(code_points[0]), ""))].add(code_points)
        self.by_name = {name: next(iter(found)) for name, found in candidates.items() if len(found) == 1}
        # The short name decides where the standard gives the same name to another character.
        self.by_name |= short_names

    def match_names(self, names: list[str], synonyms: dict[str, str]) -> dict[CodePoints, str]:
        """Return the icon of each character that is found by its name; the first of several."""
        found: dict[CodePoints, str] = {}
        for name in names:
            code_points = self.by_name.get(normalised(synonyms.get(name, name)))
            if code_points is not None:
                found.setdefault(code_points, name)
        return found

    def match_code_points(self, characters: dict[str, str]) -> dict[CodePoints, str]:
        """Return the icon of each character from a package's own table of code points."""
        found = {_code_points("".join(chr(int(x, 16)) for x in key.split("-"))): name for key, name in characters.items()}
        return {code_points: name for code_points, name in found.items() if code_points in self.facts}


def svg(icons: dict[str, Any], name: str) -> str:
    r"""Return an icon as an SVG file; an icon that is not square is centred.

    Parameters
    ----------
    icons : dict
        Content of ``icons.json`` of a package.
    name : str

    Examples
    --------
    >>> svg({"width": 32, "height": 32, "icons": {"dot": {"body": "<circle r='4'/>", "height": 16}}}, "dot")
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 -8.0 32 32"><circle r=\'4\'/></svg>'
    """
    icon = icons["icons"].get(name)
    flipped = False
    if icon is None:
        alias = icons["aliases"][name]
        if set(alias) - {"parent", "hFlip", "hidden"}:
            raise ValueError(f"the alias {name!r} has the transformations {sorted(alias)}; only hFlip is supported")
        icon, flipped = icons["icons"][alias["parent"]], alias.get("hFlip", False)
    if "rotate" in icon or "hFlip" in icon or "vFlip" in icon:
        raise ValueError(f"the icon {name!r} is transformed, which is not supported")
    left, top, width, height = (icon.get(key, icons.get(key, 0)) for key in ("left", "top", "width", "height"))
    body = icon["body"]
    if flipped:
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    side = max(width, height)
    left, top = left - (side - width) / 2 if width < side else left, top - (side - height) / 2 if height < side else top
    box = f"{left} {top} {side} {side}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}" viewBox="{box}">{body}</svg>'


def render(source: str) -> NDArray[np.uint8]:
    """Return an SVG file as pixels ``(64, 64, 3)`` on white."""
    import resvg_py

    content = bytes(resvg_py.svg_to_bytes(svg_string=source, background="#ffffff", skip_system_fonts=True))
    return np.asarray(PIL.Image.open(bytes_io.BytesIO(content)).convert("RGB"))


def sheet(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images as the bytes of a lossless WebP file with 32 images in a row, filled up with white.

    Examples
    --------
    >>> content = sheet(np.zeros((3, 64, 64, 3), np.uint8))
    >>> PIL.Image.open(bytes_io.BytesIO(content.tobytes())).size
    (2048, 64)
    """
    rows = -(-len(images) // COLUMNS)
    grid = np.full((rows * COLUMNS, SIZE, SIZE, 3), 255, np.uint8)
    grid[: len(images)] = images
    grid = grid.reshape(rows, COLUMNS, SIZE, SIZE, 3).swapaxes(1, 2).reshape(rows * SIZE, COLUMNS * SIZE, 3)
    file = bytes_io.BytesIO()
    PIL.Image.fromarray(grid).save(file, "webp", lossless=True, quality=100, method=6)
    return np.frombuffer(file.getvalue(), np.uint8)


def aligned(image: NDArray[np.uint8], size: int = 24) -> NDArray[np.uint8]:
    """Return the part of an icon that is not white, centred in a square and resized.

    Examples
    --------
    >>> image = np.full((64, 64, 3), 255, np.uint8)
    >>> image[10:20, 30:40] = 0
    >>> int(aligned(image).max())
    0
    """
    ink = (image < 245).any(axis=-1)
    (top, bottom), (left, right) = (np.flatnonzero(ink.any(axis=axis))[[0, -1]] + (0, 1) for axis in (1, 0))
    side = max(bottom - top, right - left)
    square = np.full((side, side, 3), 255, np.uint8)
    y, x = (side - bottom + top) // 2, (side - right + left) // 2
    square[y : y + bottom - top, x : x + right - left] = image[top:bottom, left:right]
    return np.asarray(PIL.Image.fromarray(square).resize((size, size), PIL.Image.Resampling.BOX))


def distances(images: NDArray[np.uint8], others: NDArray[np.uint8] | None = None) -> NDArray[np.floating]:
    """Return the distances of all aligned icons, relative to their root mean square difference from white.

    0 is an exact copy; two shapes of one colour that do not overlap have the distance 1.41. With ``others``, the distances
    are those between the icons of both arrays.
    """
    features = _features(images)
    other_features = features if others is None else _features(others)
    squares, other_squares = (features**2).sum(axis=1)[:, np.newaxis], (other_features**2).sum(axis=1)
    differences = squares + other_squares - 2 * features @ other_features.T
    return np.sqrt(np.maximum(differences, 0) / ((squares + other_squares) / 2))


def _features(images: NDArray[np.uint8]) -> NDArray[np.floating]:
    return 1 - np.stack([aligned(image) for image in images]).reshape(len(images), -1) / 255


def near_copies(distance: NDArray[np.floating], concepts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the number of the group of each icon: icons that a chain of near-copies connects.

    Examples
    --------
    >>> distance = np.array([[0, 0.3, 0.9], [0.3, 0, 0.3], [0.9, 0.3, 0]])
    >>> near_copies(distance, np.array([0, 0, 1])).tolist()
    [0, 0, 1]
    """
    same = concepts[:, np.newaxis] == concepts
    linked = distance < np.where(same, MAX_DISTANCE_OF_STYLES, MAX_DISTANCE_OF_CONCEPTS)
    return connected_components(csr_array(linked), directed=False)[1].astype(np.int64)


def _unpack(folder: Path, package: str, release: str, sha256: str) -> dict[str, Any]:
    """Return the JSON files of a package, by name, after ``npm pack`` and a comparison with the checksum."""
    archive = folder / f"{package.removeprefix('@').replace('/', '-')}-{release}.tgz"
    if not archive.is_file():
        subprocess.run(["npm", "pack", "--silent", f"{package}@{release}"], cwd=folder, check=True, capture_output=True)
    io.verify_checksum(archive, sha256, advice="Delete it, and the script downloads it again")
    with tarfile.open(archive) as files:
        members = {member.name.removeprefix("package/"): member for member in files if member.name.endswith(".json")}
        return {name: json.load(files.extractfile(member)) for name, member in members.items()}  # type: ignore[arg-type]


def _sources(folder: Path, table: CharacterTable) -> dict[str, dict[CodePoints, str]]:
    """Return the SVG file of each wanted character, for each style."""
    sources = {}
    for style, (package, release, sha256) in PACKAGES.items():
        files = _unpack(folder, package, release, sha256)
        icons = files["icons.json"]
        if files["chars.json"]:
            found = table.match_code_points(files["chars.json"])
        else:
            names = [*icons["icons"], *icons.get("aliases", {})]
            names = [name for name in names if name not in LEFT_OUT_ICONS.get(style, ())]
            found = table.match_names(names, FXEMOJI_NAMES if style == "fxemoji" else {})
        sources[style] = {
            code_points: svg(icons, name)
            for code_points, name in found.items()
            if is_wanted(code_points, table.facts[code_points]["group"])
        }
    return sources


def _write(folder: Path, downloads: Path) -> None:
    """Write ``emoji.npz`` and its record."""
    name, release = RENDERER
    if version(name) != release:
        raise RuntimeError(f"{name} has version {version(name)}; the pixels are those of {release}: install that one")
    table = CharacterTable(_unpack(downloads, *CHARACTERS)["data-by-emoji.json"])
    sources = _sources(downloads, table)
    concepts = [x for x in table.facts if sum(x in found for found in sources.values()) >= MIN_STYLES]
    arrays: dict[str, Any] = {
        "names": np.array([table.facts[x]["name"] for x in concepts]),
        "categories": np.array([table.facts[x]["group"] for x in concepts]),
        "code_points": np.array(["-".join(f"{point:x}" for point in x) for x in concepts]),
        "present": np.array([[x in sources[style] for style in PACKAGES] for x in concepts]),
    }
    parts = [np.stack([render(found[x]) for x in concepts if x in found]) for found in sources.values()]
    images, concept_of_icon = np.concatenate(parts), np.nonzero(arrays["present"].T)[1]
    arrays["hues"] = np.concatenate([emoji.dominant_hue(part / 255) for part in parts])
    distance = distances(images)
    arrays["groups"] = near_copies(distance, concept_of_icon)
    pairs = np.triu(concept_of_icon[:, np.newaxis] == concept_of_icon, 1)
    arrays |= {f"sheet_{style}": sheet(part) for style, part in zip(PACKAGES, parts, strict=True)}
    with io.atomic_write(folder / "emoji.npz") as temporary:
        np.savez_compressed(temporary, **arrays)
    record = {
        "origin": {style: f"{package} {release}" for style, (package, release, _) in PACKAGES.items()},
        "names_from": " ".join(CHARACTERS[:2]),
        "licence": {style: f"{licence}; see LICENSES/emoji.txt" for style, licence in LICENCES.items()},
        "changes": "rendered at 64x64 on white, without flags, signs, clock faces, and variants of skin tone and gender",
        "made_by": "data/make_emoji.py",
        "made_from": {package: sha256 for package, _, sha256 in (*PACKAGES.values(), CHARACTERS)},
        "made_with": {
            **{package: version(package) for package in (name, "pillow", "numpy")},
            "libwebp": PIL.features.version("webp"),
        },
        "concepts": len(concepts),
        "icons": dict(zip(PACKAGES, arrays["present"].sum(axis=0).tolist(), strict=True)),
        "icons_with_dominant_hue": int(np.isfinite(arrays["hues"]).sum()),
        "near_copies": {
            "pairs_of_styles": int((pairs & (distance < MAX_DISTANCE_OF_STYLES)).sum()),
            "groups_of_several_icons": int((np.bincount(arrays["groups"]) > 1).sum()),
            "icons_in_them": int((np.bincount(arrays["groups"])[arrays["groups"]] > 1).sum()),
        },
        "sha256_of_pixels": hashlib.sha256(images.tobytes()).hexdigest(),
        "sha256": io.sha256(folder / "emoji.npz"),
    }
    with io.atomic_write(folder / "emoji.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """Write ``emoji.npz`` and its record into the folder of this script."""
    with tempfile.TemporaryDirectory() as temporary:
        _write(Path(__file__).parent, Path(sys.argv[1] if len(sys.argv) > 1 else temporary))


if __name__ == "__main__":
    main()
