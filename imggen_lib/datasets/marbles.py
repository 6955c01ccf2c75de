"""Marbles, rendered on first use: with classes of hue, and with captions."""

import functools

import numpy as np

from imggen_lib import rendering
from imggen_lib.datasets import marble_captions
from imggen_lib.datasets.base import Condition, Dataset

#: Share of the parts that captions leave out.
LEFT_OUT = 0.15


@functools.cache
def _rendered_marbles():
    images, _ = rendering.render_marbles(7200, rng=0)
    # Marble i is of hue i % 6.
    labels = np.arange(7200) % len(rendering.HUES)
    return _shared("marbles", (images[:6000], labels[:6000], images[6000:], labels[6000:]), Condition("classes", rendering.HUES))


@functools.cache
def _captioned_marbles():
    seen, held_out = marble_captions.combinations()
    rng, parts = np.random.default_rng(1), []
    for n, among in ((8000, seen), (1000, np.concatenate([seen, held_out]))):
        choices = rng.choice(among, n)
        words = marble_captions.encode([marble_captions.caption(choice) for choice in choices])
        if among is seen:
            words *= np.repeat(rng.uniform(size=(n, len(marble_captions.COUNTS))) > LEFT_OUT, marble_captions.COUNTS, axis=1)
        parts += [marble_captions.render(choices, rng=rng, size=32), words]
    return _shared("captioned_marbles", parts, Condition("captions", marble_captions.WORDS, "marble_captions"))


@functools.cache
def _described_marbles():
    rng = np.random.default_rng(2)
    choices = rng.choice(np.concatenate(marble_captions.combinations()), 9000)
    images = marble_captions.render(choices, rng=rng, size=32)
    words = marble_captions.encode([marble_captions.caption(choice) for choice in choices])
    return _shared("described_marbles", (images[:8000], words[:8000], images[8000:], words[8000:]), Condition("captions", marble_captions.WORDS, "marble_captions"))


def _shared(name, arrays, condition):
    """Rendered pictures are kept in memory: whoever loads them shares them, so nobody may change them."""
    for array in arrays:
        array.flags.writeable = False
    return Dataset(name, *arrays, condition)


LOADERS = {
    "marbles": lambda _: _rendered_marbles(),
    "captioned_marbles": lambda _: _captioned_marbles(),
    "described_marbles": lambda _: _described_marbles(),
}
