"""Write the embedded MRI slices from the test data of NiBabel: ``python data/make_mri.py [FOLDER]``.

The Python package NiBabel has a scan of a head as test data: an echo-planar image of 24 slices of 128 by 96 pixels, taken
twice. This script downloads the wheel with ``pip download`` to FOLDER, or to a temporary folder, compares it with its
checksum, and keeps the first image: turned so that the front of the head is on top, without empty columns at both sides,
and with 8 bits for each pixel. It needs ``nibabel``; the library does not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imggen_lib import io

__all__ = ["RELEASE", "SCAN", "main", "slices"]

#: The version of NiBabel, and the SHA-256 of its wheel.
RELEASE = ("5.4.2", "553482c5f1e1034fc312edf6fb7f32236c0056439845d1c29293b7e8c98d4854")
#: The file in the wheel.
SCAN = "nibabel/tests/data/example4d.nii.gz"
_EMPTY_COLUMNS = 16


def slices(volume: ArrayLike) -> NDArray[np.uint8]:
    """Return the slices of a scan, the lowest one first, as images of 8 bits.

    The brightest 0.1 % of the values become white.

    Parameters
    ----------
    volume : array_like
        Non-negative ``(right to left, back to front, slices)``.

    Returns
    -------
    numpy.ndarray
        uint8 ``(slices, height, width)``, without 16 columns at the left and at the right.

    Examples
    --------
    >>> slices(np.ones((128, 96, 24))).shape
    (24, 96, 96)
    """
    values = np.asarray(volume, np.float64)
    scaled = np.clip(values / np.percentile(values, 99.9), 0, 1)
    turned = np.rot90(scaled[_EMPTY_COLUMNS:-_EMPTY_COLUMNS])
    return np.round(255 * np.moveaxis(turned, -1, 0)).astype(np.uint8)


def main() -> None:
    """Write ``mri.npz`` and its record into the folder of this script."""
    import nibabel

    folder, (release, checksum) = Path(__file__).parent, RELEASE
    with tempfile.TemporaryDirectory() as temporary:
        downloads = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        wheel = downloads / f"nibabel-{release}-py3-none-any.whl"
        if not wheel.is_file():
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", downloads, f"nibabel=={release}"]
            subprocess.run(list(map(str, command)), check=True)
        io.verify_checksum(wheel, checksum, advice="Delete it, and the script downloads it again")
        with zipfile.ZipFile(wheel) as archive:
            scan = Path(archive.extract(SCAN, temporary))
        images = slices(np.asarray(nibabel.load(scan).dataobj)[..., 0])
    with io.atomic_write(folder / "mri.npz") as file:
        np.savez_compressed(file, slices=images)
    record = {
        "origin": f"NiBabel {release}, {SCAN}, first of two volumes",
        "licence": "MIT, Copyright Matthew Brett and other contributors; see LICENSES/nibabel.txt",
        "changes": "turned, cropped to 96x96, the brightest 0.1 % of the values set to white, 8 bits",
        "made_by": "data/make_mri.py",
        "made_from": {wheel.name: checksum},
        "slices": len(images),
        "millimetres": {"pixel": 2.0, "distance_of_slices": 2.2},
        "sha256": io.sha256(folder / "mri.npz"),
    }
    with io.atomic_write(folder / "mri.json") as file:
        file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
