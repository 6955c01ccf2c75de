"""Image files of every common kind are read by one rule, or rejected with one line.

The table `KINDS` lists files, most of them written by Pillow or tifffile, with what the rule gives for their known pixels.
"""

import dataclasses
import io as streams
import itertools
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.features
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_lib import io

HEIGHT, WIDTH = 24, 40
y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
# Smooth, so that lossy formats keep it, with four different corners, so that every orientation differs.
RGB = np.stack([20 + 5 * x, 30 + 8 * y, 200 - 2 * x - 3 * y], axis=-1).round().astype(np.uint8)
GREY = RGB[..., 2]
ALPHA = (255 - 6 * x).round().astype(np.uint8)
FEW = (x // 10 + 4 * (y // 12)).astype(np.uint8)  # 8 colours
COLOURS = np.array(list(itertools.product((0, 200), (40, 255), (10, 130))), np.uint8)
BLACK_AND_WHITE = FEW % 2 == 1
GREY16 = (1500 * x + 250 * y).astype(np.uint16)
RGB16 = np.stack([GREY16, GREY16[::-1], 65535 - GREY16], axis=-1)
ALPHA16 = (65535 - 1600 * x).astype(np.uint16)
FLOAT = (GREY16 / 65535).astype(np.float32)

# Exif 2.32, tag 0x0112: what turns the stored rows and columns upright.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.swapaxes(stored[::-1, ::-1], 0, 1),
    8: lambda stored: np.rot90(stored),
}


def unit(array):
    """Integers by the largest value of their type."""
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype.kind in "bf" else array / np.iinfo(array.dtype).max


def blend(colour, alpha, background=1.0):
    """The rule for transparency, with arrays in [0, 1]."""
    alpha = alpha[..., None] if colour.ndim == 3 else alpha
    return colour * alpha + background * (1 - alpha)


def luma(rgb):
    return 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]


@dataclasses.dataclass
class Kind:
    """One kind of file: how to write it, and what reading it gives: an array, or the reason for which it is rejected."""

    name: str
    write: Callable[[Path], None]
    expected: np.ndarray | str
    # 8-bit steps in the mean and in any pixel. Half a step is float rounding.
    tolerance: float = 0.01
    frame: int | None = None
    frames: int = 1

    def __post_init__(self):
        assert self.name not in NAMES, self.name
        NAMES.add(self.name)


NAMES = set()


def pillow(pixels, **options):
    """Write an array or an image with Pillow."""

    def write(path):
        image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
        image.save(path, **options)

    return write


def tiff(pixels, **options):
    return lambda path: tifffile.imwrite(path, pixels, **options)


def data(content):
    return lambda path: path.write_bytes(content)


def exif(orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    return tags


def palette_image(alphas=None):
    image = PIL.Image.fromarray(FEW)
    image.putpalette(COLOURS.tobytes())
    if alphas is not None:
        image.info["transparency"] = alphas
    return image


def palette_with_alpha():
    image = palette_image()
    image.putalpha(PIL.Image.fromarray(ALPHA))
    return image


def with_alpha(colour, alpha):
    return np.concatenate([colour if colour.ndim == 3 else colour[..., None], alpha[..., None]], axis=-1)


def films(*arrays):
    """Options of Pillow for the frames after the first."""
    return {"save_all": True, "append_images": [PIL.Image.fromarray(array) for array in arrays]}


def png(pixels, bits, colour, transparent=None, palette=None):
    """A PNG file (ISO/IEC 15948) of any bit depth and colour type; Pillow does not write all of them."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).astype(">u2" if bits == 16 else "u1")
    if bits < 8:
        single = (rows[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1
        rows = np.packbits(single.reshape(height, -1), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if palette is not None:
        parts.append(chunk(b"PLTE", palette.tobytes()))
    if transparent is not None:
        parts.append(chunk(b"tRNS", np.asarray(transparent, ">u2" if palette is None else "u1").tobytes()))
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(content)), chunk(b"IEND", b"")])


def encoded(image, format, **options):
    stream = streams.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def cursor(path):
    """A cursor is an icon with another type in the header."""
    icon = encoded(PIL.Image.fromarray(with_alpha(RGB, ALPHA)[:16, :16]), "ICO", sizes=[(16, 16)], bitmap_format="bmp")
    path.write_bytes(icon[:2] + b"\2" + icon[3:])


def bmp(pixels):
    """A bitmap with an alpha channel: BITMAPV4HEADER with the masks of four channels (Microsoft, Windows GDI)."""
    height, width = pixels.shape[:2]
    masks = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII4I", 108, width, height, 1, 32, 3, 4 * width * height, 2835, 2835, 0, 0, *masks)
    body = header + b"BGRs" + bytes(48) + pixels[::-1].tobytes()
    return struct.pack("<2sIHHI", b"BM", 14 + len(body), 0, 0, 122) + body


def psd(pixels):
    """A Photoshop file without layers: header, three empty sections, planes (Adobe Photoshop File Formats, 2019)."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, pixels.shape[-1], *pixels.shape[:2], 8, 3)
    return header + bytes(12) + b"\0\0" + np.moveaxis(pixels, -1, 0).tobytes()


def twelve_bits(path):
    """A TIFF file of 12 bits: two values in three bytes. tifffile writes it as bytes, and the tags are changed."""
    values = (GREY16 >> 4).astype(np.uint16)
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8)
    tifffile.imwrite(path, packed.reshape(HEIGHT, -1), photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ImageWidth"].overwrite(WIDTH)
        file.pages[0].tags["BitsPerSample"].overwrite(12)


def srgb_of_lightness(lightness):
    """A grey of CIE L* in [0, 100] as sRGB: CIE 15:2004 and IEC 61966-2-1."""
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * (3 / 29) ** 3)
    value = np.where(luminance > 0.0031308, 1.055 * luminance ** (1 / 2.4) - 0.055, 12.92 * luminance)
    return np.repeat(value[..., None], 3, axis=-1)


def lab_bytes(rgb):
    """CIE L*a*b* as TIFF stores it: L* from 0 to 255, a* and b* signed."""
    profiles = PIL.ImageCms.createProfile("sRGB"), PIL.ImageCms.createProfile("LAB")
    transform = PIL.ImageCms.buildTransform(*profiles, "RGB", "LAB")
    return PIL.ImageCms.applyTransform(PIL.Image.fromarray(rgb), transform)


RGB_UNIT, GREY_UNIT = unit(RGB), unit(GREY)
RGBA, LA = with_alpha(RGB, ALPHA), with_alpha(GREY, ALPHA)
RGBA_UNIT, LA_UNIT = blend(RGB_UNIT, unit(ALPHA)), blend(GREY_UNIT, unit(ALPHA))
PALETTE_UNIT = unit(COLOURS[FEW])
PALETTE_ALPHAS = np.array([0, 50, 100, 150, 200, 255, 255, 0], np.uint8)
PALETTE_BLENDED = blend(PALETTE_UNIT, unit(PALETTE_ALPHAS)[FEW])
ONE_TRANSPARENT = blend(PALETTE_UNIT, (FEW != 3).astype(float))
CMYK = np.stack([RGB[..., 0], RGB[..., 1], RGB[..., 2], RGB[..., 0] // 3], axis=-1)
CMYK_UNIT = (1 - unit(CMYK[..., :3])) * (1 - unit(CMYK[..., 3:]))
INKS = PIL.Image.merge("CMYK", [PIL.Image.fromarray(CMYK[..., k]) for k in range(4)])
PGM16 = f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + GREY16.astype(">u2").tobytes()
UNKNOWN = "the range of .* is unknown: rescale"

KINDS = [
    # PNG: every combination of colour type and bit depth.
    Kind("l.png", pillow(GREY), GREY_UNIT),
    Kind("l1.png", data(png(FEW % 2, 1, 0)), FEW % 2 / 1),
    Kind("l2.png", data(png(FEW % 4, 2, 0)), FEW % 4 / 3),
    Kind("l4.png", data(png(FEW, 4, 0)), FEW / 15),
    Kind("l16.png", data(png(GREY16, 16, 0)), unit(GREY16)),
    Kind("l-transparent.png", data(png(FEW, 8, 0, 3)), blend(FEW / 255, (FEW != 3).astype(float))),
    Kind("l1-transparent.png", data(png(FEW % 2, 1, 0, 0)), np.ones_like(GREY_UNIT)),
    Kind("l2-transparent.png", data(png(FEW % 4, 2, 0, 2)), np.where(FEW % 4 == 2, 1, FEW % 4 / 3)),
    Kind("l4-transparent.png", data(png(FEW, 4, 0, 3)), np.where(FEW == 3, 1, FEW / 15)),
    Kind("l16-transparent.png", data(png(GREY16, 16, 0, GREY16[5, 7])), np.where(GREY16[5, 7] == GREY16, 1, unit(GREY16))),
    Kind("la.png", pillow(LA), LA_UNIT),
    Kind("la16.png", data(png(with_alpha(GREY16, ALPHA16), 16, 4)), blend(unit(GREY16), unit(ALPHA16)), 2),
    Kind("rgb.png", pillow(RGB), RGB_UNIT),
    Kind("rgb16.png", data(png(RGB16, 16, 2)), unit(RGB16), 1),
    Kind(
        "rgb-transparent.png", data(png(RGB, 8, 2, RGB[5, 7])), np.where((RGB[5, 7] == RGB).all(-1)[..., None], 1, RGB_UNIT)
    ),
    Kind(
        "rgb16-transparent.png",
        data(png(257 * RGB.astype(np.uint16), 16, 2, 257 * RGB[5, 7].astype(int))),
        np.where((RGB[5, 7] == RGB).all(-1)[..., None], 1, RGB_UNIT),
    ),
    Kind("rgba.png", pillow(RGBA), RGBA_UNIT),
    Kind("rgba16.png", data(png(with_alpha(RGB16, ALPHA16), 16, 6)), blend(unit(RGB16), unit(ALPHA16)), 2),
    Kind("p.png", pillow(palette_image()), PALETTE_UNIT),
    *(
        Kind(
            f"p{bits}.png",
            data(png(FEW & (2**bits - 1), bits, 3, palette=COLOURS[: 2**bits])),
            unit(COLOURS[FEW & (2**bits - 1)]),
        )
        for bits in (1, 2, 4, 8)
    ),
    Kind("p-alphas.png", data(png(FEW, 8, 3, PALETTE_ALPHAS, palette=COLOURS)), PALETTE_BLENDED),
    Kind("p4-alphas.png", data(png(FEW, 4, 3, PALETTE_ALPHAS, palette=COLOURS)), PALETTE_BLENDED),
    Kind("p-one-transparent.png", pillow(palette_image(3)), ONE_TRANSPARENT),
    Kind("one-frame.apng", pillow(RGB, format="PNG", save_all=True), RGB_UNIT),
    Kind("animated.png", pillow(RGB, **films(RGB[::-1])), RGB_UNIT, frames=2),
    Kind("animated-second.png", pillow(RGB, **films(RGB[::-1])), RGB_UNIT[::-1], frame=1),
    Kind("animated-grey.png", pillow(GREY, **films(GREY[::-1])), GREY_UNIT, frames=2),
    # JPEG
    Kind("l.jpg", pillow(GREY, quality=100), GREY_UNIT, 3),
    Kind("rgb.jpg", pillow(RGB, quality=100, subsampling=0), RGB_UNIT, 4),
    Kind("rgb-420-progressive.jpg", pillow(RGB, quality=95, subsampling=2, progressive=True), RGB_UNIT, 10),
    Kind("cmyk.jpg", pillow(INKS, quality=100), CMYK_UNIT, 8),
    Kind("stereo.mpo", pillow(RGB, quality=100, subsampling=0, **films(RGB[::-1])), RGB_UNIT, 4, frames=2),
    # GIF
    Kind("palette.gif", pillow(palette_image()), PALETTE_UNIT),
    Kind("grey.gif", pillow(GREY), np.repeat(GREY_UNIT[..., None], 3, axis=-1)),
    Kind("transparent.gif", pillow(palette_image(3), transparency=3), ONE_TRANSPARENT),
    Kind("animated.gif", pillow(COLOURS[FEW], **films(COLOURS[FEW][::-1])), PALETTE_UNIT, frames=2),
    Kind("animated-second.gif", pillow(COLOURS[FEW], **films(COLOURS[FEW][::-1])), PALETTE_UNIT[::-1], frame=1),
    Kind("one-frame.gif", pillow(COLOURS[FEW], save_all=True), PALETTE_UNIT),
    # Windows
    Kind("1.bmp", pillow(BLACK_AND_WHITE), BLACK_AND_WHITE / 1),
    Kind("l.bmp", pillow(GREY), GREY_UNIT),
    Kind("p.bmp", pillow(palette_image()), PALETTE_UNIT),
    Kind("rgb.bmp", pillow(RGB), RGB_UNIT),
    Kind("rgb-fourth-byte.bmp", pillow(RGBA), RGB_UNIT),
    Kind("rgba.bmp", data(bmp(RGBA)), RGBA_UNIT),
    Kind("rgb.dib", pillow(RGB), RGB_UNIT),
    Kind("icon.ico", pillow(RGBA[:16, :16], sizes=[(16, 16)]), RGBA_UNIT[:16, :16]),
    Kind("bitmap.ico", pillow(RGBA[:16, :16], sizes=[(16, 16)], bitmap_format="bmp"), RGBA_UNIT[:16, :16]),
    Kind("cursor.cur", cursor, RGBA_UNIT[:16, :16]),
    Kind("rgba.dds", pillow(RGBA), RGBA_UNIT),
    Kind("rgb.pcx", pillow(RGB), RGB_UNIT),
    # TIFF, written by Pillow
    Kind("1.tif", pillow(BLACK_AND_WHITE), BLACK_AND_WHITE / 1),
    Kind("l.tif", pillow(GREY), GREY_UNIT),
    Kind("la.tif", pillow(LA), LA_UNIT),
    Kind(
        "la-premultiplied.tif",
        tiff(
            with_alpha((GREY_UNIT * ALPHA).round().astype(np.uint8), ALPHA),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["assocalpha"],
        ),
        LA_UNIT,
        1.5,
    ),
    Kind("rgb.tif", pillow(RGB), RGB_UNIT),
    Kind("rgba.tif", pillow(RGBA), RGBA_UNIT),
    Kind("p.tif", pillow(palette_image()), PALETTE_UNIT),
    Kind("pa.tif", pillow(palette_with_alpha()), blend(PALETTE_UNIT, unit(ALPHA))),
    Kind("cmyk.tif", pillow(INKS), CMYK_UNIT, 1),
    Kind("cmyk-lzw.tif", pillow(INKS, compression="tiff_lzw"), CMYK_UNIT, 1),
    # Steps of one in a* and b* are large steps of dark saturated colours.
    Kind("lab.tif", pillow(lab_bytes(RGB // 2 + 64)), unit(RGB // 2 + 64), 6),
    Kind("l16.tif", pillow(GREY16), unit(GREY16)),
    Kind("float.tif", pillow(FLOAT), FLOAT),
    Kind("int32.tif", pillow(GREY16.astype(np.int32)), UNKNOWN),
    *(
        Kind(f"rgb-{compression}.tif", pillow(RGB, compression=compression), RGB_UNIT)
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma")
    ),
    Kind("l16-lzw.tif", pillow(GREY16, compression="tiff_lzw"), unit(GREY16)),
    Kind("float-deflate.tif", pillow(FLOAT, compression="tiff_adobe_deflate"), FLOAT),
    Kind("p-lzw.tif", pillow(palette_image(), compression="tiff_lzw"), PALETTE_UNIT),
    Kind("rgb-jpeg.tif", pillow(RGB, compression="jpeg", quality=95), RGB_UNIT, 10),
    Kind("l-jpeg.tif", pillow(GREY, compression="jpeg", quality=100), GREY_UNIT, 3),
    *(
        Kind(f"1-{compression}.tif", pillow(BLACK_AND_WHITE, compression=compression), BLACK_AND_WHITE / 1)
        for compression in ("group3", "group4", "tiff_lzw")
    ),
    Kind("pages.tif", pillow(GREY, **films(GREY[::-1], GREY[:, ::-1])), GREY_UNIT, frames=3),
    Kind("pages-third.tif", pillow(GREY, **films(GREY[::-1], GREY[:, ::-1])), GREY_UNIT[:, ::-1], frame=2),
    Kind("pages-lzw.tif", pillow(RGB, compression="tiff_lzw", **films(RGB[::-1])), RGB_UNIT[::-1], frame=1),
    Kind("big-pillow.tif", pillow(RGB, big_tiff=True), RGB_UNIT),
    # TIFF, written by tifffile
    Kind("l-bigendian.tif", tiff(GREY, byteorder=">"), GREY_UNIT),
    Kind("l16-bigendian.tif", tiff(GREY16, byteorder=">"), unit(GREY16)),
    Kind("l16-deflate.tif", tiff(GREY16, compression="zlib"), unit(GREY16)),
    Kind("l16-predictor.tif", tiff(GREY16, compression="zlib", predictor=True), unit(GREY16)),
    Kind("1-min-is-white.tif", tiff(BLACK_AND_WHITE, photometric="miniswhite"), 1 - BLACK_AND_WHITE),
    Kind("l-min-is-white.tif", tiff(GREY, photometric="miniswhite"), 1 - GREY_UNIT),
    Kind("l-min-is-white-bigendian.tif", tiff(GREY, photometric="miniswhite", byteorder=">"), 1 - GREY_UNIT),
    Kind("l16-min-is-white.tif", tiff(GREY16, photometric="miniswhite"), 1 - unit(GREY16)),
    Kind("l16-min-is-white-bigendian.tif", tiff(GREY16, photometric="miniswhite", byteorder=">"), 1 - unit(GREY16)),
    Kind("l16-min-is-white-deflate.tif", tiff(GREY16, photometric="miniswhite", compression="zlib"), 1 - unit(GREY16)),
    Kind("float-min-is-white.tif", tiff(FLOAT, photometric="miniswhite"), 1 - FLOAT),
    Kind("l12.tif", twelve_bits, (GREY16 >> 4) / 4095),
    Kind("rgb16.tif", tiff(RGB16, photometric="rgb"), unit(RGB16), 1),
    Kind("rgb16-bigendian.tif", tiff(RGB16, photometric="rgb", byteorder=">"), unit(RGB16), 1),
    Kind("rgb-planar.tif", tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"), RGB_UNIT),
    Kind(
        "rgb-planar-deflate.tif",
        tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib"),
        RGB_UNIT,
    ),
    Kind("rgb16-planar.tif", tiff(np.moveaxis(RGB16, -1, 0), photometric="rgb", planarconfig="separate"), unit(RGB16), 1),
    Kind("l-tiled.tif", tiff(GREY, tile=(16, 16)), GREY_UNIT),
    Kind("l16-tiled.tif", tiff(GREY16, tile=(16, 16), compression="zlib"), unit(GREY16)),
    Kind("rgb-tiled.tif", tiff(RGB, tile=(16, 16), photometric="rgb"), RGB_UNIT),
    Kind(
        "rgb-tiled-planar.tif",
        tiff(np.moveaxis(RGB, -1, 0), tile=(16, 16), photometric="rgb", planarconfig="separate"),
        RGB_UNIT,
    ),
    Kind("rgb-strips.tif", tiff(RGB, rowsperstrip=5, photometric="rgb"), RGB_UNIT),
    Kind("big.tif", tiff(RGB, bigtiff=True, photometric="rgb"), RGB_UNIT),
    Kind("float16.tif", tiff(FLOAT.astype(np.float16)), FLOAT, 0.1),
    Kind("float64.tif", tiff(FLOAT.astype(np.float64)), FLOAT),
    Kind("float-bigendian.tif", tiff(FLOAT, byteorder=">"), FLOAT),
    Kind("rgb-float.tif", tiff(RGB_UNIT.astype(np.float32), photometric="rgb"), RGB_UNIT),
    Kind(
        "la16.tif",
        tiff(with_alpha(GREY16, ALPHA16), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        blend(unit(GREY16), unit(ALPHA16)),
    ),
    Kind("rgba-unassociated.tif", tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]), RGBA_UNIT),
    Kind(
        "rgba-premultiplied.tif",
        tiff(
            with_alpha((RGB_UNIT * ALPHA[..., None]).round().astype(np.uint8), ALPHA),
            photometric="rgb",
            extrasamples=["assocalpha"],
        ),
        RGBA_UNIT,
        1.5,
    ),
    Kind(
        "rgba-float-premultiplied.tif",
        tiff(
            with_alpha(RGB_UNIT * unit(ALPHA)[..., None], unit(ALPHA)).astype(np.float32),
            photometric="rgb",
            extrasamples=["assocalpha"],
        ),
        RGBA_UNIT,
    ),
    Kind("rgb-extra.tif", tiff(RGBA, photometric="rgb", extrasamples=["unspecified"]), RGB_UNIT),
    Kind(
        "rgba16.tif",
        tiff(with_alpha(RGB16, ALPHA16), photometric="rgb", extrasamples=["unassalpha"]),
        blend(unit(RGB16), unit(ALPHA16)),
        2,
    ),
    Kind("cmyk16.tif", tiff(257 * CMYK.astype(np.uint16), photometric="separated"), CMYK_UNIT, 1),
    # L* = 100 (Y / Yn)^(1/3) of a grey above the linear part: CIE 15:2004.
    Kind(
        "lab-grey.tif",
        tiff(np.stack([GREY, 0 * GREY, 0 * GREY], -1), photometric="cielab"),
        srgb_of_lightness(GREY / 2.55),
        2,
    ),
    Kind(
        "p-tifffile.tif",
        tiff(FEW, photometric="palette", colormap=np.pad(257 * COLOURS.T.astype(np.uint16), ((0, 0), (0, 248)))),
        PALETTE_UNIT,
    ),
    Kind(
        "pages-float64.tif",
        tiff(np.stack([FLOAT, FLOAT[::-1]]).astype(np.float64), photometric="minisblack"),
        FLOAT,
        frames=2,
    ),
    Kind(
        "pages-float64-second.tif",
        tiff(np.stack([FLOAT, FLOAT[::-1]]).astype(np.float64), photometric="minisblack"),
        FLOAT[::-1],
        frame=1,
    ),
    Kind("int8.tif", tiff(GREY.astype(np.int8)), UNKNOWN),
    Kind("int16.tif", tiff(GREY16.astype(np.int16)), UNKNOWN),
    Kind("int32-bigendian.tif", tiff(GREY16.astype(np.int32), byteorder=">"), UNKNOWN),
    Kind("uint32.tif", tiff(GREY16.astype(np.uint32)), UNKNOWN),
    Kind("uint64.tif", tiff(GREY16.astype(np.uint64)), UNKNOWN),
    Kind("complex.tif", tiff(FLOAT.astype(np.complex64)), UNKNOWN),
    Kind("float-range.tif", tiff(100 * FLOAT), r"values from 0 to 98\.\d+; expected \[0, 1\]"),
    Kind("float-negative.tif", tiff(-FLOAT), r"values from -0\.98\d+ to -?0; expected \[0, 1\]"),
    Kind("float-nan.tif", tiff(np.where(FLOAT > 0.5, np.nan, FLOAT).astype(np.float32)), "values from nan to nan"),
    Kind("float64-range.tif", tiff(100 * FLOAT.astype(np.float64)), r"expected \[0, 1\]"),
    # WebP, AVIF, JPEG 2000
    Kind("rgb.webp", pillow(RGB, lossless=True), RGB_UNIT),
    Kind("rgba.webp", pillow(RGBA, lossless=True, exact=True), RGBA_UNIT),
    Kind("rgb-lossy.webp", pillow(RGB, quality=95), RGB_UNIT, 10),
    Kind("rgba-lossy.webp", pillow(RGBA, quality=95), RGBA_UNIT, 10),
    Kind("animated.webp", pillow(RGB, lossless=True, **films(RGB[::-1])), RGB_UNIT, frames=2),
    Kind("animated-second.webp", pillow(RGB, lossless=True, **films(RGB[::-1])), RGB_UNIT[::-1], frame=1),
    Kind("l.jp2", pillow(GREY, irreversible=False), GREY_UNIT),
    Kind("l16.jp2", pillow(GREY16), unit(GREY16)),
    Kind("la.jp2", pillow(LA), LA_UNIT),
    Kind("rgb.jp2", pillow(RGB), RGB_UNIT),
    Kind("rgba.jp2", pillow(RGBA), RGBA_UNIT),
    Kind("codestream.j2k", pillow(RGB), RGB_UNIT),
    Kind("rgb-lossy.jp2", pillow(RGB, irreversible=True, quality_mode="dB", quality_layers=[48]), RGB_UNIT, 10),
    # Netpbm
    Kind("plain.pbm", data(f"P1 {WIDTH} {HEIGHT} ".encode() + b" ".join(b"%d" % v for v in FEW.flat if v < 2)), "damaged"),
    Kind(
        "plain-bits.pbm", data(f"P1 {WIDTH} {HEIGHT} ".encode() + b" ".join(b"%d" % (v % 2) for v in FEW.flat)), 1 - FEW % 2
    ),
    Kind("plain.pgm", data(f"P2 {WIDTH} {HEIGHT} 255 ".encode() + b" ".join(b"%d" % v for v in GREY.flat)), GREY_UNIT),
    Kind(
        "plain16.pgm",
        data(f"P2 {WIDTH} {HEIGHT} 65535 ".encode() + b" ".join(b"%d" % v for v in GREY16.flat)),
        unit(GREY16),
    ),
    Kind("plain.ppm", data(f"P3 {WIDTH} {HEIGHT} 255 ".encode() + b" ".join(b"%d" % v for v in RGB.flat)), RGB_UNIT),
    Kind("bits.pbm", pillow(BLACK_AND_WHITE), BLACK_AND_WHITE / 1),
    Kind("8.pgm", pillow(GREY), GREY_UNIT),
    Kind("16.pgm", data(PGM16), unit(GREY16)),
    Kind(
        "10.pgm", data(f"P5 {WIDTH} {HEIGHT} 1023\n".encode() + (GREY16 >> 6).astype(">u2").tobytes()), (GREY16 >> 6) / 1023
    ),
    Kind("4.pgm", data(f"P5 {WIDTH} {HEIGHT} 15\n".encode() + FEW.tobytes()), FEW / 15),
    Kind("8.ppm", pillow(RGB), RGB_UNIT),
    Kind("16.ppm", data(f"P6 {WIDTH} {HEIGHT} 65535\n".encode() + RGB16.astype(">u2").tobytes()), unit(RGB16), 1),
    Kind("float.pfm", pillow(FLOAT), FLOAT),
    Kind("float-range.pfm", pillow(100 * FLOAT), r"expected \[0, 1\]"),
    # Others
    *(
        Kind(f"{name}.tga", pillow(array), expected)
        for name, array, expected in (
            ("l", GREY, GREY_UNIT),
            ("la", LA, LA_UNIT),
            ("rgb", RGB, RGB_UNIT),
            ("rgba", RGBA, RGBA_UNIT),
        )
    ),
    Kind("rgb-rle.tga", pillow(RGB, compression="tga_rle"), RGB_UNIT),
    Kind("rgb.sgi", pillow(RGB), RGB_UNIT),
    Kind("merged.psd", data(psd(RGB)), RGB_UNIT),
    Kind("bits.xbm", pillow(BLACK_AND_WHITE), BLACK_AND_WHITE / 1),
    Kind(
        "icon.icns", pillow(PIL.Image.new("RGBA", (1024, 1024), (255, 0, 0, 51))), np.tile([1, 0.8, 0.8], (1024, 1024, 1))
    ),
    Kind("page.pdf", pillow(RGB), "not an image, or its format is not supported"),
    Kind("numbers.npy", lambda path: np.save(path, GREY), "not an image"),
    Kind("drawing.svg", data(b"<svg xmlns='http://www.w3.org/2000/svg'><circle r='4'/></svg>"), "not an image"),
]
if PIL.features.check("avif"):
    KINDS += [
        Kind("rgb.avif", pillow(RGB, quality=100, subsampling="4:4:4"), RGB_UNIT, 4),
        Kind("rgba.avif", pillow(RGBA, quality=100, subsampling="4:4:4"), RGBA_UNIT, 4),
        Kind("animated.avif", pillow(RGB, quality=100, **films(RGB[::-1])), RGB_UNIT, 12, frames=2),
    ]


def stored(pixels, orientation):
    """The rows and columns that the orientation turns into the pixels."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return np.ascontiguousarray(UPRIGHT[inverse](pixels))


# Every orientation of every format that has one.
for k in range(1, 9):
    turned = stored(RGB, k)
    KINDS += [
        Kind(f"orientation-{k}.jpg", pillow(turned, quality=100, subsampling=0, exif=exif(k)), RGB_UNIT, 4),
        Kind(f"orientation-{k}.png", pillow(turned, exif=exif(k)), RGB_UNIT),
        Kind(f"orientation-{k}.webp", pillow(turned, lossless=True, exif=exif(k)), RGB_UNIT),
        Kind(f"orientation-{k}.tif", pillow(turned, tiffinfo={274: k}), RGB_UNIT),
        Kind(f"orientation-{k}-lzw.tif", pillow(turned, tiffinfo={274: k}, compression="tiff_lzw"), RGB_UNIT),
        Kind(f"orientation-{k}-l16.tif", tiff(stored(GREY16, k), extratags=[(274, 3, 1, k, True)]), unit(GREY16)),
        Kind(
            f"orientation-{k}-float64.tif",
            tiff(stored(FLOAT, k).astype(np.float64), extratags=[(274, 3, 1, k, True)]),
            FLOAT,
        ),
        *(
            Kind(f"orientation-{k}-{mode}.tif", pillow(pixels, tiffinfo={274: k}), expected, tolerance)
            for mode, pixels, expected, tolerance in (
                ("l", stored(GREY, k), GREY_UNIT, 0.01),
                ("rgba", stored(RGBA, k), RGBA_UNIT, 0.01),
                (
                    "cmyk",
                    PIL.Image.merge("CMYK", list(map(PIL.Image.fromarray, stored(CMYK, k).transpose(2, 0, 1)))),
                    CMYK_UNIT,
                    1,
                ),
            )
        ),
        Kind(
            f"orientation-{k}-xmp.tif",
            pillow(turned, tiffinfo={274: k, 700: f'<x tiff:Orientation="{k}"/>'.encode()}),
            RGB_UNIT,
        ),
    ]
    if PIL.features.check("avif"):
        KINDS.append(
            Kind(f"orientation-{k}.avif", pillow(turned, quality=100, subsampling="4:4:4", exif=exif(k)), RGB_UNIT, 4)
        )


def read(kind, path, **options):
    """Read a file, which warns if and only if it has several frames and none is chosen."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = io.read_image(path, frame=kind.frame, **options)
    expected = [f"{path} has {kind.frames} frames; the first one is used: pass frame=0 to {kind.frames - 1}"]
    assert [str(warning.message) for warning in caught] == expected * (kind.frames > 1)
    return image


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_file_is_read_by_the_rule_or_rejected_with_one_line(kind, tmp_path):
    path = tmp_path / kind.name
    kind.write(path)
    if isinstance(kind.expected, str):
        with pytest.raises(ValueError, match=kind.expected) as error:
            read(kind, path)
        assert str(error.value).startswith(f"{path} cannot be read as an image: ")
        assert len(str(error.value).splitlines()) == 1
        return
    image = read(kind, path)
    assert image.dtype == np.float32 and image.shape == kind.expected.shape
    assert image.min() >= 0 and image.max() <= 1
    np.testing.assert_allclose(255 * image, 255 * kind.expected, rtol=0, atol=kind.tolerance)
    # The expected array of a coloured image with alpha is on white, and luma is linear.
    grey, rgb = read(kind, path, mode="grey"), read(kind, path, mode="rgb")
    np.testing.assert_allclose(grey, luma(image) if image.ndim == 3 else image, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(rgb, image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1))


def test_table_has_at_least_sixty_kinds_without_the_eight_orientations():
    assert len([kind for kind in KINDS if "orientation" not in kind.name]) >= 60


def test_orientation_of_each_page_is_its_own(tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for k in (1, 6, 3):
            writer.write(stored(RGB, k), photometric="rgb", extratags=[(274, 3, 1, k, True)])
    for frame in range(3):
        np.testing.assert_allclose(io.read_image(path, frame=frame), RGB_UNIT, atol=1e-6)


def image_of(mode, height, width, rng):
    """A random image of Pillow's mode, with its colours and alpha by the rule."""

    def pixels(channels, dtype=np.uint8):
        return rng.integers(np.iinfo(dtype).max, size=(height, width, channels), dtype=dtype, endpoint=True)

    opaque = np.ones((height, width, 1))
    if mode == "1":
        bits = rng.random((height, width)) < 0.5
        return PIL.Image.fromarray(bits), bits[..., None] / 1, opaque
    if mode == "I;16":
        values = pixels(1, np.uint16)
        return PIL.Image.fromarray(values[..., 0]), unit(values), opaque
    if mode in ("P", "P transparent"):
        palette, alphas = pixels(3).reshape(-1, 3)[:256], np.full(256, 255, np.uint8)
        index = rng.integers(len(palette), size=(height, width), dtype=np.uint8)
        image = PIL.Image.fromarray(index)
        image.putpalette(palette.tobytes())
        if mode == "P transparent":
            alphas = rng.integers(256, size=256, dtype=np.uint8)
            image.info["transparency"] = alphas[: len(palette)].tobytes()
        return image, unit(palette[index]), unit(alphas[index])[..., None]
    values = pixels({"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode])
    image = PIL.Image.fromarray(values[..., 0] if mode == "L" else values)
    channels = values.shape[-1] - mode.endswith("A")
    return image, unit(values[..., :channels]), unit(values[..., channels:]) if mode.endswith("A") else opaque


FORMATS = {
    "png": {"1", "L", "LA", "I;16", "P", "P transparent", "RGB", "RGBA"},
    "tif": {"1", "L", "LA", "I;16", "P", "RGB", "RGBA"},
    "webp": {"RGB", "RGBA"},
}
COLOUR = st.floats(0, 1, width=32)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_result_follows_the_rule_for_random_images(data):
    suffix = data.draw(st.sampled_from(sorted(FORMATS)))
    mode = data.draw(st.sampled_from(sorted(FORMATS[suffix])))
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    orientation = data.draw(st.integers(1, 8))
    target = data.draw(st.sampled_from([None, "grey", "rgb"]))
    background = data.draw(st.one_of(COLOUR, st.tuples(COLOUR, COLOUR, COLOUR)))
    image, colours, alpha = image_of(mode, height, width, np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))))
    options = {"tif": {"tiffinfo": {274: orientation}}, "webp": {"lossless": True, "exact": True}}.get(suffix, {})
    if suffix != "tif":
        options["exif"] = exif(orientation)

    # The rule: upright; grey or RGB; blended with the background.
    colours, alpha = UPRIGHT[orientation](colours), UPRIGHT[orientation](alpha)
    grey = target == "grey" or (target is None and colours.shape[-1] == 1)
    behind = np.broadcast_to(background, (1, 1, 3))
    if colours.shape[-1] == 1:
        colours = np.repeat(colours, 3, axis=-1)
    expected = colours * alpha + behind * (1 - alpha)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image.{suffix}"
        image.save(path, **options)
        result = io.read_image(path, mode=target, background=background)
    np.testing.assert_allclose(result, luma(expected) if grey else expected, rtol=0, atol=2e-6)


def test_background_is_seen_through_transparent_pixels(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.new("LA", (2, 2), (255, 51)).save(path)
    for background, mode, expected in (
        (1.0, None, 1.0),
        (0, None, 0.2),
        ((1, 0, 0), None, 0.2 + 0.8 * 0.299),  # grey by what the file says
        ((1, 0, 0), "rgb", [1, 0.2, 0.2]),
        ((0.5, 0.5, 0.5), "grey", 0.6),
    ):
        np.testing.assert_allclose(io.read_image(path, mode=mode, background=background)[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "RGB"}, ValueError, "mode is 'RGB'; expected one of None, grey, rgb"),
        ({"background": 255}, ValueError, r"background has values from 255 to 255; expected \[0, 1\]"),
        ({"background": (0, 1)}, ValueError, r"background has the shape \(2,\); expected one grey value or \(3,\)"),
        ({"background": "white"}, TypeError, "background has the dtype <U5; expected real numbers"),
        ({"frame": 1.0}, TypeError, "frame is 1.0; expected a whole number"),
        ({"frame": -1}, ValueError, "frame is -1; expected at least 0"),
        ({"frame": 3}, ValueError, "cannot be read as an image: frame is 3; expected 0 to 2"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path, options, error, message):
    for suffix, dtype in (("gif", np.uint8), ("tif", np.float64)):
        path = tmp_path / f"three.{suffix}"
        frames = np.linspace(0, 1, 3)[:, None, None] * np.ones((3, 8, 8))
        if suffix == "gif":
            pillow((255 * frames[0]).astype(dtype), **films(*(255 * frames[1:]).astype(dtype)))(path)
        else:
            tifffile.imwrite(path, frames, photometric="minisblack")
        with pytest.raises(error, match=message):
            io.read_image(path, **options)


WHOLE = {
    "a.png": pillow(RGB),
    "a.jpg": pillow(RGB),
    "a.gif": pillow(COLOURS[FEW]),
    "a.bmp": pillow(RGB),
    "a.webp": pillow(RGB, lossless=True),
    "a.tif": tiff(RGB, photometric="rgb"),
    "b.tif": pillow(RGB, compression="tiff_lzw"),
    "c.tif": pillow(BLACK_AND_WHITE, compression="group4"),
    "d.tif": tiff(FLOAT.astype(np.float64), compression="zlib"),
    "e.tif": tiff(FLOAT.astype(np.float64)),
    "f.tif": pillow(RGB, compression="jpeg"),
    "a.jp2": pillow(RGB),
    "a.pgm": data(PGM16),
    "a.ppm": pillow(RGB),
    "a.tga": pillow(RGB),
    "a.ico": pillow(RGBA[:16, :16], sizes=[(16, 16)]),
}
if PIL.features.check("avif"):
    WHOLE["a.avif"] = pillow(RGB)


def rejection(path):
    """The reason for which a file is rejected, or None; an image must be complete."""
    try:
        image = io.read_image(path)
    except ValueError as error:
        assert str(error).startswith(f"{path} cannot be read as an image: "), error
        assert len(str(error).splitlines()) == 1
        return str(error)
    assert np.isfinite(image).all()
    return None


@pytest.mark.parametrize("name", WHOLE)
def test_truncated_files_are_rejected_with_one_line(tmp_path, name):
    path = tmp_path / name
    WHOLE[name](path)
    whole = path.read_bytes()
    complete = io.read_image(path)
    rejected = 0
    for length in sorted({0, 1, 2, 4, 10, 30, 60, *np.linspace(0, len(whole) - 1, 25).astype(int)}):
        path.write_bytes(whole[:length])
        if rejection(path) is None:
            # Nothing but an end marker, or metadata behind the pixels, is missing.
            np.testing.assert_array_equal(io.read_image(path), complete, err_msg=f"{length} of {len(whole)}")
        else:
            rejected += 1
    assert rejected >= 20


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.filterwarnings("ignore:.* frames; the first one is used")
def test_damaged_bytes_raise_nothing_but_one_line(tmp_path, name, rng):
    path = tmp_path / name
    WHOLE[name](path)
    whole = path.read_bytes()
    for position in (*range(0, min(len(whole), 200), 7), *rng.integers(len(whole), size=20)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        rejection(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "the file is empty"),
        ("page.png", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "it is not an image"),
        ("text.jpg", b"not an image", "it is not an image"),
        ("null.tif", bytes(500), "it is not an image"),
        ("noise.webp", np.random.default_rng(0).bytes(500), "it is not an image"),
        ("header.tif", b"II*\0\x08\0\0\0", "it contains no image"),
        ("header.png", b"\x89PNG\r\n\x1a\n", "it is not an image"),
        ("archive.png", b"PK\3\4" + bytes(100), "it is not an image"),
    ],
)
def test_files_that_are_not_images_are_rejected_with_the_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    assert reason in rejection(tmp_path / name)


def test_directory_missing_file_and_pipe_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.png"):
        io.read_image(tmp_path / "a.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*broken\.png"):
        io.read_image(tmp_path / "broken.png")
    assert "it is a directory" in rejection(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    assert "it is not a regular file" in rejection(tmp_path / "pipe.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_without_permission_is_rejected(tmp_path):
    pillow(RGB)(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    assert "Permission denied" in rejection(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "format"), [("a.png", "JPEG"), ("a.jpg", "PNG"), ("a.txt", "GIF"), ("a", "TIFF")])
def test_format_is_that_of_the_content_not_of_the_name(tmp_path, name, format):
    PIL.Image.new("RGB", (8, 8), (255, 255, 255)).save(tmp_path / name, format)
    np.testing.assert_array_equal(io.read_image(tmp_path / name), np.ones((8, 8, 3)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "e.tif", "d.tif"])
def test_large_photograph_is_read_without_warning_and_decompression_bomb_is_rejected(tmp_path, monkeypatch, name):
    path = tmp_path / name
    WHOLE[name](path)
    pixels = HEIGHT * WIDTH
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pixels // 2)  # Pillow warns of one pixel more
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert io.read_image(path).shape[:2] == (HEIGHT, WIDTH)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pixels // 2 - 1)
    assert f"it decompresses to too many pixels ({pixels}" in rejection(path).replace("Image size (", "")


def test_limit_of_pixels_admits_ordinary_cameras():
    assert 2 * PIL.Image.MAX_IMAGE_PIXELS > 100e6


def test_rejected_tiff_files_print_nothing(tmp_path):
    path = tmp_path / "a.tif"
    WHOLE["d.tif"](path)
    path.write_bytes(path.read_bytes()[:200])
    program = """
import sys
from imggen_lib import io
try:
    io.read_image(sys.argv[1])
except ValueError:
    print("rejected")
"""
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("rejected\n", "")


def test_max_side_reduces_by_the_mean_of_areas_after_the_orientation(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 12, 3), dtype=np.uint8)
    pillow(pixels, exif=exif(6))(tmp_path / "a.png")
    upright = UPRIGHT[6](unit(pixels))  # 12 rows, 6 columns
    means = upright.reshape(4, 3, 2, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(io.read_image(tmp_path / "a.png", max_side=4), means, atol=1e-6)
    np.testing.assert_allclose(io.read_image(tmp_path / "a.png", max_side=12), upright, atol=1e-6)
    assert io.read_image(tmp_path / "a.png", mode="grey", max_side=3).shape == (3, 2)


@pytest.mark.parametrize(("max_side", "error"), [(0, ValueError), (2.0, TypeError)])
def test_max_side_must_be_a_positive_integer(tmp_path, max_side, error):
    pillow(RGB)(tmp_path / "a.png")
    with pytest.raises(error, match="max_side"):
        io.read_image(tmp_path / "a.png", max_side=max_side)
