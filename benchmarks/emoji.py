"""Quality of the shipped models of emoji: recogniser, autoencoders, and text to image. Takes about two hours.

The script writes three tables. The first has the accuracy of the recogniser on real scenes, for the captions of the
training part and of the three held-out parts. The second has reconstructions of icons in styles in which no training scene
shows them: the peak signal-to-noise ratio over the pixels that are not white, beside that of the nearest icon of the
training scenes.

The third has text to image. Each model generates four samples for each caption of each part. The recogniser decides which
of them show noun, colour, count and style as requested, and all of them together. It makes mistakes on real images, too.
Therefore shares are also given as fractions of its rate on real images of the same captions, with 95 % intervals from
resampled captions. The distance of a sample to a real image of the caption, in the recogniser's features, is given beside
the distance of the nearest training image to that real image, which is the best value that copying could reach.

The script writes ``emoji.md`` and ``emoji.json`` beside this file, and for each model a sheet of 100 samples with their
captions into ``_build/benchmarks``. ``--models emoji_tokens`` measures only that model and the autoencoders, and keeps the
other rows. ``--captions 100`` measures fewer captions of each part; the table states how many. ``--checkpoints FILE ...``
measures only states of a training of ``emoji_diffusion`` that were copied while it ran, and writes a fourth table: quality
against the time of training.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import race
import tqdm
from numpy.typing import NDArray

import imggen_lib
from imggen_lib import datasets, evaluation, io, metrics, pretrained
from imggen_lib.datasets import captioned_emoji, composed_emoji
from imggen_lib.datasets.composed_emoji import Description, Group

Array = NDArray[Any]
FOLDER = Path(__file__).parent
MODELS = ("emoji_diffusion", "emoji_tokens")
#: For each label in the table, the shipped model that is the autoencoder or contains it.
AUTOENCODERS = {"`emoji_autoencoder`": "emoji_autoencoder", "autoencoder of `emoji_tokens`": "emoji_tokens"}
ATTRIBUTES = ("noun", "colour", "count", "style", "all", "position")
PART_NAMES = {"train": "training", "style": "held-out style", "colour": "held-out colour", "pair": "held-out pair"}


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured: captions of each part, samples of each, real scenes for the recogniser, icons at most.

    The guidance scale is chosen among ``guidance``, with ``guidance_captions`` training captions that are not used again.
    """

    captions: int = 300
    samples: int = 4
    scenes: int = 1000
    icons: int = 300
    training_scenes: int = 20_000
    guidance: Sequence[float] = (1, 2, 3, 4, 6, 8)
    guidance_captions: int = 200


TRIAL = Scale(captions=3, samples=2, scenes=20, icons=5, training_scenes=40, guidance=(1, 2), guidance_captions=3)


def main() -> None:
    """Measure, then write the values, the tables and the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, help="measure only these models and keep the other rows")
    parser.add_argument("--captions", type=int, default=Scale.captions, help="captions of each part (default: %(default)s)")
    parser.add_argument("--checkpoints", nargs="+", type=Path, metavar="FILE", help="measure only these states of training")
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    arguments = parser.parse_args()
    imggen_lib.configure_process()
    scale = TRIAL if arguments.trial else Scale(captions=arguments.captions)
    sheets = race.RESULTS / "trial" if arguments.trial else race.RESULTS
    sheets.mkdir(parents=True, exist_ok=True)
    path = (sheets if arguments.trial else FOLDER) / "emoji.json"
    partly = arguments.models or arguments.checkpoints
    if partly and not path.is_file():
        parser.error(f"{path} does not exist, so there are no other values to keep; first measure without --models")
    board: dict[str, Any] = json.loads(path.read_text()) if partly else {"models": {}}
    if not partly:
        board["recogniser"] = recogniser_accuracy(scale)
    if arguments.checkpoints:
        guidance = board["models"]["emoji_diffusion"]["guidance"]
        files = tqdm.tqdm(arguments.checkpoints, desc="checkpoints")
        board["training"] = [during_training(file, guidance, scale) for file in files]
    else:
        board["autoencoders"] = reconstructions(scale)
        for name in arguments.models or MODELS:
            board["models"][name] = text_to_image(name, scale)
            sheet(name, board["models"][name]["guidance"]).save(sheets / f"{name}-captions.png")
        board["scale"] = dataclasses.asdict(scale)
        board["machine"] = race.machine()
    with io.atomic_write(path) as temporary:
        temporary.write_text(json.dumps(board, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(tables(board), encoding="utf-8")


# The recogniser


def recogniser_accuracy(scale: Scale) -> dict[str, dict[str, float]]:
    """Return the share of real scenes in which the recogniser finds each attribute, and all of them, for each part."""
    found = {}
    for part in composed_emoji.PARTS:
        wanted = composed_emoji.sample_descriptions(scale.scenes, rng=10, part=part)
        right = evaluation.scene_matches(composed_emoji.render(wanted, rng=11), wanted)
        found[part] = {name: float(right[name].mean()) for name in ATTRIBUTES}
    return found


# Reconstructions


def reconstructions(scale: Scale) -> dict[str, dict[str, float]]:
    """Return for each autoencoder its median peak signal-to-noise ratio on held-out icons and facts about its code."""
    pairs = sorted(composed_emoji.held_out().styles)
    chosen = [pairs[index] for index in np.random.default_rng(0).permutation(len(pairs))[: scale.icons]]
    images = np.stack([icon(noun, style) for noun, style in chosen])
    held_out = set(pairs)
    known = [(noun, style) for noun in composed_emoji.NOUNS for style in composed_emoji.styles_of(noun)]
    training = np.stack([icon(noun, style) for noun, style in known if (noun, style) not in held_out])
    flat = training.reshape(len(training), -1)
    nearest = np.stack([training[((flat - image.reshape(-1)) ** 2).sum(axis=1).argmin()] for image in images])
    found: dict[str, dict[str, float]] = {
        "nearest training icon": {"icons": len(images), "psnr": median_ratio(images, nearest)}
    }
    for label, name in AUTOENCODERS.items():
        model = pretrained.load(name)
        model = getattr(model, "autoencoder", model)
        found[label] = {"psnr": median_ratio(images, model.reconstruct(images))}
        if hasattr(model, "num_codes"):
            usage = model.code_usage(datasets.load("composed_emoji").x_test[: 4 * scale.icons])
            used = round(usage["share"] * model.num_codes)
            found[label] |= {"codes": model.num_codes, "used": used, "perplexity": usage["perplexity"]}
    return found


def icon(noun: str, style: str) -> Array:
    """Return a scene of one icon in its own colours, always at the same position and of the same size."""
    return composed_emoji.render(Description(Group(noun), style=style), rng=0)[0]


def median_ratio(images: Array, others: Array) -> float:
    """Return the median over images of the peak signal-to-noise ratio over the pixels of the image that are not white."""
    ratios = []
    for image, other in zip(images, others, strict=True):
        inside = image.min(axis=-1) < 0.98
        ratios.append(-10 * np.log10(max(float(((image - other)[inside] ** 2).mean()), 1e-10)))
    return float(np.median(ratios))


# Text to image


def text_to_image(name: str, scale: Scale) -> dict[str, Any]:
    """Return for each part the shares of samples that show what their captions state, and distances in feature space."""
    model = pretrained.load(name)
    training = training_features(scale)
    by_guidance = {guidance: nouns_shown(model, guidance, scale) for guidance in scale.guidance}
    guidance = max(by_guidance, key=by_guidance.__getitem__)
    model.sample(16, seed=0, labels=captioned_emoji.sample(16, rng=0), guidance_scale=guidance)  # compiles
    begin = time.perf_counter()
    model.sample(16, seed=0, labels=captioned_emoji.sample(16, rng=0), guidance_scale=guidance)
    seconds = time.perf_counter() - begin
    found: dict[str, Any] = {
        "guidance": guidance, "nouns_by_guidance": by_guidance, "seconds_for_16": seconds, "parts": {}
    }  # fmt: skip
    for part in tqdm.tqdm(composed_emoji.PARTS, desc=name):
        wanted = composed_emoji.sample_descriptions(scale.captions, rng=20, part=part)
        found["parts"][part] = examine(model, wanted, training, guidance, scale)
    return found


def nouns_shown(model: Any, guidance: float, scale: Scale) -> float:
    """Return the share of samples for training captions that show their nouns."""
    wanted = composed_emoji.sample_descriptions(scale.guidance_captions, rng=22)
    rows = captioned_emoji.encode([composed_emoji.compose(description) for description in wanted])
    samples = model.sample(len(rows), seed=2, labels=rows, guidance_scale=guidance)
    return float(evaluation.scene_matches(samples, wanted)["noun"].mean())


def during_training(file: Path, guidance: float, scale: Scale) -> dict[str, Any]:
    """Return the time of training of a checkpoint, and what :func:`text_to_image` returns for its training captions."""
    record = pretrained.record(file)
    wanted = composed_emoji.sample_descriptions(scale.captions, rng=20)
    values = examine(pretrained.load(file), wanted, training_features(scale), guidance, scale)
    return {name: record[name] for name in ("steps", "images_seen", "seconds", "machine")} | {
        "captions": scale.captions,
        "guidance": guidance,
        "values": values,
    }


@functools.cache
def training_features(scale: Scale) -> Array:
    """Return the recogniser's features of training images."""
    return evaluation.emoji_recogniser().features(datasets.load("composed_emoji").x_train[: scale.training_scenes])


def examine(model: Any, wanted: Sequence[Description], training: Array, guidance: float, scale: Scale) -> dict[str, Any]:
    """Return the shares, with intervals, and the median feature distances for captions of one part."""
    repeated = [description for description in wanted for _ in range(scale.samples)]
    rows = captioned_emoji.encode([composed_emoji.compose(description) for description in repeated])
    samples = model.sample(len(rows), seed=1, labels=rows, guidance_scale=guidance)
    real = composed_emoji.render(repeated, rng=21)
    shown, possible = (evaluation.scene_matches(images, repeated) for images in (samples, real))
    result: dict[str, Any] = {}
    for name in ATTRIBUTES:
        rates = [np.reshape(found[name], (len(wanted), scale.samples)).mean(axis=1) for found in (shown, possible)]
        result[name] = {"shown": float(rates[0].mean()), "real": float(rates[1].mean()), "ratio": interval(*rates)}
    recogniser = evaluation.emoji_recogniser()
    targets = recogniser.features(real)
    result["distance"] = float(np.median(np.linalg.norm(recogniser.features(samples) - targets, axis=1)))
    copies, _ = metrics.nearest_neighbours(targets[:: scale.samples], training)
    result["copy_distance"] = float(np.median(copies))
    return result


def interval(shown: Array, possible: Array) -> list[float]:
    """Return the ratio of two mean rates and its 95 % interval, from 2,000 resamples of the captions."""
    indices = np.random.default_rng(0).integers(len(shown), size=(2000, len(shown)))
    resampled = shown[indices].mean(axis=1) / np.maximum(possible[indices].mean(axis=1), 1e-9)
    return [float(shown.mean() / max(possible.mean(), 1e-9)), *map(float, np.quantile(resampled, [0.025, 0.975]))]


def sheet(name: str, guidance: float) -> PIL.Image.Image:
    """Return the first sample of 100 captions, 25 of each part, each with its caption below it."""
    wanted = [item for part in composed_emoji.PARTS for item in composed_emoji.sample_descriptions(25, rng=20, part=part)]
    captions = [composed_emoji.compose(item) for item in wanted]
    model = pretrained.load(name)
    images = model.sample(100, seed=1, labels=captioned_emoji.encode(captions), guidance_scale=guidance)
    canvas = PIL.Image.new("RGB", (10 * 140, 10 * 176), "white")
    draw = PIL.ImageDraw.Draw(canvas)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = 140 * (index % 10), 176 * (index // 10)
        tile = PIL.Image.fromarray(np.round(image * 255).astype(np.uint8)).resize((128, 128), PIL.Image.Resampling.NEAREST)
        canvas.paste(tile, (left + 6, top))
        draw.text((left + 6, top + 130), textwrap.fill(caption, 24), fill="black")
    return canvas


# Tables


def tables(board: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    scale = Scale(**board["scale"])
    num_icons = board["autoencoders"]["nearest training icon"]["icons"]
    lines = [f"Accuracy of `emoji_recogniser` on {scale.scenes:,} real scenes of each part.", ""]
    lines += ["| part | " + " | ".join(ATTRIBUTES) + " |", "|---|" + "---:|" * len(ATTRIBUTES)]
    for part, values in board["recogniser"].items():
        lines.append(f"| {PART_NAMES[part]} | " + " | ".join(f"{values[name]:.1%}" for name in ATTRIBUTES) + " |")
    lines += [
        "",
        f"Reconstruction of {num_icons} held-out icons: no training scene shows these nouns in these styles. Medians over "
        "the icons.",
        "",
    ]
    lines += ["| | PSNR of pixels that are not white (dB) | codes used | perplexity |", "|---|---:|---:|---:|"]
    for name, values in board["autoencoders"].items():
        codes = f"{values['used']} of {values['codes']} | {values['perplexity']:.0f}" if "codes" in values else " | "
        lines.append(f"| {name} | {values['psnr']:.1f} | {codes} |")
    return "\n".join([*lines, *text_to_image_table(board, scale), *training_table(board)]) + "\n"


def text_to_image_table(board: dict[str, Any], scale: Scale) -> list[str]:
    """Return the lines of the third table."""
    chosen = "; ".join(f"`{name}` {guidance_text(result)}" for name, result in board["models"].items())
    lines = [
        "",
        f"Text to image: {scale.samples} samples for each of {scale.captions} captions of each part. *Fraction*: the share "
        "of samples with noun, colour, count and style right together, divided by that of real images, with a 95 % "
        "interval from resampled captions (if no sample is right, it is degenerate, and the true share can be up to 3 "
        "divided by the number of samples). Distances in the recogniser's features: of samples to a real image, and of the "
        "nearest training image to it. The guidance scale of a model is the one with the most correct nouns for "
        f"{scale.guidance_captions} other training captions: {chosen}.",
        "",
        "| model | captions | noun | colour | count | style | together | real images | fraction | distance | copy |",
        "|---|---|" + "---:|" * 9,
    ]
    for name, result in board["models"].items():
        for part, values in result["parts"].items():
            shares = " | ".join(f"{values[attribute]['shown']:.0%}" for attribute in ("noun", "colour", "count", "style"))
            together = values["all"]
            ratio, low, high = together["ratio"]
            lines.append(
                f"| `{name}` | {PART_NAMES[part]} | {shares} | {together['shown']:.1%} | {together['real']:.1%} | "
                f"{ratio:.1%} ({low:.1%} to {high:.1%}) | {values['distance']:.1f} | {values['copy_distance']:.1f} |"
            )
    seconds = [f"`{name}` {result['seconds_for_16']:.1f} s" for name, result in board["models"].items()]
    lines += ["", f"Sixteen samples take, on {board['machine']}: {', '.join(seconds)}."]
    return lines


def guidance_text(result: dict[str, Any]) -> str:
    """Return the guidance scale of a model and the share of correct nouns with each scale, if several were measured."""
    shares = ", ".join(f"{share:.1%} at {float(guidance):g}" for guidance, share in result["nouns_by_guidance"].items())
    return f"{result['guidance']:g} ({shares or 'not chosen by measurement'})"


def training_table(board: dict[str, Any]) -> list[str]:
    """Return the lines of the fourth table, none without checkpoints."""
    if not (states := board.get("training")):
        return []
    lines = [
        "",
        f"Training of `emoji_diffusion`: the same measure for {states[-1]['captions']} training captions after parts of "
        f"the training, at guidance scale {states[-1]['guidance']:g}. Learning rate: "
        f"{pretrained.record('emoji_diffusion')['schedule']}.",
        "",
        "| steps | images seen | hours | noun | colour | count | style | together | fraction | distance |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for state in states:
        values = state["values"]
        shares = " | ".join(f"{values[attribute]['shown']:.0%}" for attribute in ("noun", "colour", "count", "style"))
        ratio, low, high = values["all"]["ratio"]
        lines.append(
            f"| {state['steps']:,} | {state['images_seen']:,} | {state['seconds'] / 3600:.2f} | {shares} | "
            f"{values['all']['shown']:.1%} | {ratio:.1%} ({low:.1%} to {high:.1%}) | {values['distance']:.1f} |"
        )
    return lines


if __name__ == "__main__":
    main()
