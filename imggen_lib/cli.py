"""The command line: ``imggen list | estimate | train | sample | score``. Every error is one line and states what to do."""

from __future__ import annotations

import argparse
import ast
import io as io_module
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

import imggen_lib
from imggen_lib import _validation as validate
from imggen_lib import datasets, io, pretrained, recipes
from imggen_lib.datasets import composed_emoji

__all__ = ["main"]

#: Height, width and channels that images are read with if both sides of a score are folders.
FOLDER_SHAPE = (64, 64, 3)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments. By default, those of the process.

    Returns
    -------
    int
        The exit status: 0 on success, 1 on an error, 130 if Ctrl-C stopped it.

    Examples
    --------
    >>> main(["sample", "gan", "-n", "1", "-o", "one.gif"])
    1
    """
    arguments = _parser().parse_args(argv)
    status = _run(arguments)
    if status != 0 and (loaded := sys.modules.get("imggen_lib.training.processes")) is not None:
        loaded.leave(status)
    return status


def _run(arguments: argparse.Namespace) -> int:
    """Run a command, print its error in one line, and return the exit status."""
    imggen_lib.configure_process()
    # On a terminal without accents, print a replacement character instead of failing.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io_module.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            status = arguments.command(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("imggen: stopped", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"imggen: {error}; install the package, or choose another KERAS_BACKEND", file=sys.stderr)
    except (ValueError, TypeError, FileNotFoundError, ConnectionError, TimeoutError) as error:
        print(f"imggen: {' '.join(str(error).split())}", file=sys.stderr)
    except MemoryError as error:
        print(f"imggen: not enough memory ({error}); generate fewer images at a time", file=sys.stderr)
    except OSError as error:
        reason = error.strerror or error
        print(f"imggen: a file could not be read or written ({reason}); no existing file was changed", file=sys.stderr)
    return 1


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line, without its location in the code. The parameters are those of the warnings module."""
    print(f"imggen: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imggen", description="Train, sample and score the generative models of the book."
    )
    parser.add_argument("--version", action="version", version=f"imggen {imggen_lib.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="list models and datasets")
    command.set_defaults(command=_list)

    command = commands.add_parser("estimate", help="measure a few training steps, and print how long training will take")
    command.add_argument("models", nargs="*", metavar="MODEL", help="as in train (default: all shipped models)")
    command.add_argument("--profile", default="quick", metavar="quick|full", help="how long to train (default: quick)")
    command.set_defaults(command=_estimate)

    command = commands.add_parser("train", help="train a model")
    command.add_argument("model", metavar="MODEL", help=f"one of {', '.join(recipes.names())}")
    command.add_argument("-o", "--output", required=True, metavar="FILE.keras|FILE.npz", help=".npz: the weights alone")
    command.add_argument("--dataset", metavar="NAME", help="instead of the dataset of the profile")
    command.add_argument("--images", metavar="DIR", help="train on the images in a folder; needs --size")
    command.add_argument("--size", metavar="H[xW]", help="height and width that the images are resized to")
    command.add_argument("--mode", default="rgb", metavar="rgb|grey", help="(default: rgb)")
    command.add_argument("--fit", default="crop", metavar="crop|pad|resize", help="for other aspect ratios (default: crop)")
    command.add_argument("--profile", default="quick", metavar="quick|full", help="how long to train (default: quick)")
    command.add_argument("--num-steps", type=int, metavar="N", help="instead of the number of steps of the profile")
    command.add_argument("--seconds", type=float, metavar="N", help="train for N seconds instead of a number of steps")
    command.add_argument("--batch-size", type=int, metavar="N")
    command.add_argument("--learning-rate", type=float, metavar="X")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a model option, such as latent_dim=32"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, batches and noise (default: 0)")
    command.add_argument("--devices", type=int, default=1, metavar="N", help="share batches among N devices (JAX)")
    command.add_argument(
        "--coordinator", metavar="HOST:PORT", help="train in several processes: where process 0 runs, and a free port"
    )
    command.add_argument("--num-processes", type=int, metavar="N", help="number; --devices counts those of all processes")
    command.add_argument("--process-id", type=int, metavar="K", help="0 to N-1, different in each process")
    command.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        help="compute in bfloat16; a processor is faster with AVX512-BF16 or AMX (default: on a GPU, if the recipe allows)",
    )
    command.add_argument("--resume", action="store_true", help="continue an interrupted training of this file")
    command.add_argument(
        "--autoencoder", metavar="MODEL|FILE", help="trained first stage of a model of tokens, whose weights it starts with"
    )
    command.set_defaults(command=_train)

    command = commands.add_parser("sample", help="generate images")
    command.add_argument("model", metavar="MODEL|FILE", help="a shipped model, or a .keras or .npz file")
    command.add_argument("-n", type=int, default=64, metavar="N", help="number of images (default: 64)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same images (default: 0)")
    command.add_argument("--label", metavar="CLASS", help="generate this class only (conditional models)")
    command.add_argument("--caption", metavar="TEXT", help="content, such as 'two blue octopuses' (emoji_diffusion)")
    command.add_argument("--style", metavar="STYLE", help="drawing style of a caption's emoji, such as noto")
    command.add_argument(
        "--guidance-scale", type=float, metavar="W", help="strength of guidance (default: 1, with --caption 2)"
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz|FILE.png")
    command.set_defaults(command=_sample)

    command = commands.add_parser("score", help="compare images with real images")
    command.add_argument(
        "source",
        metavar="FILE|DIR|MODEL",
        help="a .npz file with the array images, a folder, or a model as in sample",
    )
    command.add_argument(
        "--against",
        "--dataset",
        metavar="DATASET|DIR",
        help="the real images (default for 28x28 grey images: fashion_mnist)",
    )
    command.add_argument("--features", metavar="NAME", help="fashion_mnist, image_statistics, inception or inception:FILE")
    command.set_defaults(command=_score)
    return parser


def _list(arguments: argparse.Namespace) -> int:
    print("models")
    for name in recipes.names():
        print(f"  {name:18} {recipes.get(name).summary}")
        if name in pretrained.names():
            facts = pretrained.record(name)
            print(f"  {'':18} {facts['quality']}; trained {facts['seconds'] / 60:.0f} min on {facts['dataset']}")
        else:
            print(f"  {'':18} no shipped weights: train it")
    print("datasets")
    for name in datasets.names():
        print(f"  {name}")
    return 0


def _estimate(arguments: argparse.Namespace) -> int:
    chosen = [recipes.get(name) for name in arguments.models or pretrained.names()]
    for recipe in chosen:
        recipe.budget(arguments.profile)  # a bad name is an error before anything is measured

    from imggen_lib import training
    from imggen_lib.training.estimates import readable_time

    total = 0.0
    for recipe in chosen:
        duration = training.duration(recipe, profile=arguments.profile)
        print(duration, flush=True)
        total += duration.seconds
    print(f"total: about {readable_time(total)}, without loading data and evaluation")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from imggen_lib import training
    from imggen_lib.training import processes

    settings = dict(_setting(text) for text in arguments.set)
    for name in ("num_steps", "batch_size", "learning_rate"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
    dataset = arguments.dataset if arguments.images is None else _folder(arguments)
    names = (
        "profile",
        "seconds",
        "seed",
        "devices",
        "coordinator",
        "num_processes",
        "process_id",
        "resume",
        "autoencoder",
        "bfloat16",
    )
    options = {name: getattr(arguments, name) for name in names}
    run = training.run(arguments.model, arguments.output, dataset=dataset, report=print, **options, **settings)
    steps, seconds = run.record["steps"], run.record["seconds"]
    if not run.finished:
        if processes.index() == 0:
            print(f"imggen: stopped after {steps} steps; the same command with --resume continues", file=sys.stderr)
        return 130
    if processes.index() == 0:
        print(f"{arguments.output}: {steps} steps in {seconds:.0f} s; {run.record['quality']}")
    return 0


def _folder(arguments: argparse.Namespace) -> datasets.Dataset:
    """Read the folder that --images names."""
    if arguments.dataset is not None:
        raise ValueError("--dataset and --images are both given; choose one")
    sides = (arguments.size or "").lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise ValueError(f"--size is {arguments.size!r}; expected a height, or height x width, such as 64 or 48x64")
    size = (int(sides[0]), int(sides[-1]))
    return datasets.from_folder(arguments.images, size=size, mode=arguments.mode, fit=arguments.fit)


def _setting(text: str) -> tuple[str, Any]:
    """Split KEY=VALUE. The value is a Python literal if it can be read as one, and a string otherwise."""
    key, equals, value = text.partition("=")
    if not (key.isidentifier() and equals):
        raise ValueError(f"--set is {text!r}; expected KEY=VALUE, such as latent_dim=32")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _sample(arguments: argparse.Namespace) -> int:
    from imggen_lib import evaluation

    output = arguments.output
    if output.suffix.lower() not in (".npz", ".png"):
        raise ValueError(f"the output is {output}; expected a name that ends in .npz or .png")
    n, seed = validate.integer(arguments.n, "-n"), validate.integer(arguments.seed, "--seed", minimum=0)
    model = _generative_model(arguments.model)
    options: dict[str, Any] = {"labels": _labels(arguments, model, n, seed)}
    if arguments.guidance_scale is not None:
        if not model.accepts_guidance:
            raise ValueError(
                f"{arguments.model} does not support --guidance-scale; only conditional diffusion, flow and token models do"
            )
        options["guidance_scale"] = arguments.guidance_scale
    elif arguments.caption is not None and model.accepts_guidance:
        options["guidance_scale"] = evaluation.GUIDANCE_SCALE
    images = model.sample(n, seed=seed, **options)
    with io.atomic_write(output) as temporary:
        if output.suffix.lower() == ".npz":
            np.savez_compressed(temporary, images=images)
        else:
            io.write_contact_sheet(temporary, images)
    print(f"{output}: {n} images of {arguments.model}, seed {seed}")
    return 0


def _generative_model(name_or_path: str) -> Any:
    model = pretrained.load(name_or_path)
    if getattr(model, "task", None) != "generation":
        raise ValueError(f"{name_or_path} does not generate images; choose a generative model")
    return model


def _labels(arguments: argparse.Namespace, model: Any, n: int, seed: int) -> Any:
    """Return the labels that the arguments specify: classes, captions, or None."""
    label, caption, name = arguments.label, arguments.caption, arguments.model
    if model.num_classes is None:
        if label is not None or caption is not None or arguments.style is not None:
            raise ValueError(f"{name} was trained without labels; leave out --label, --caption and --style")
        return None
    description = pretrained.record(name).get("condition")
    if description is None:
        raise ValueError(f"{name} has no record with the names of its classes; sample it from Python with labels=")
    condition = datasets.Condition.from_description(description)
    wanted, other = (caption, label) if condition.kind == "captions" else (label, caption)
    if other is not None:
        expected = "--caption" if condition.kind == "captions" else "--label"
        raise ValueError(f"{name} is conditioned on {condition.kind}; use {expected}")
    if arguments.style is not None:
        wanted = _with_style(wanted, arguments.style, condition)
    return condition.sample(n, seed=seed) if wanted is None else condition.encode([wanted] * n)


def _with_style(caption: str | None, style: str, condition: datasets.Condition) -> str:
    """Return a caption of emoji that states a drawing style."""
    if condition.vocabulary != "captioned_emoji":
        raise ValueError("--style is for models of emoji; leave it out")
    if caption is None:
        raise ValueError("--style is given without --caption; state the content, such as --caption 'a purple octopus'")
    return f"{caption}, {validate.choice(style, 'style', composed_emoji.STYLES)} style"


def _score(arguments: argparse.Namespace) -> int:
    from imggen_lib import evaluation

    images, dataset = _images_and_real_images(arguments.source, arguments.against, evaluation.NUM_IMAGES)
    print(evaluation.score(images, dataset, features=arguments.features))
    if len(images) > evaluation.NEIGHBOURS:
        for name, (value, real) in evaluation.measures(images, dataset, features=arguments.features).items():
            print(f"{name} {value:.3f} (as many real images: {real:.3f})")
    return 0


def _images_and_real_images(source: str, against: str | None, num_samples: int) -> tuple[Any, datasets.Dataset]:
    """Return the images to score, and the dataset to compare them with. Folders are read at the size of the other side."""
    path = Path(source)
    if path.is_dir():
        if against is None:
            raise ValueError(f"{source} is a folder: name the real images with --against DATASET or --against DIR")
        dataset = _real_images(against, FOLDER_SHAPE)
        folder = _read_folder(source, dataset.image_shape)
        return np.concatenate([folder.x_train, folder.x_test]), dataset
    if path.suffix == ".npz" and not path.with_suffix(".json").is_file():
        images = io.read_npz(path, ["images"])["images"]
        return images, _real_images(against, images.shape[1:])
    model = _generative_model(source)
    dataset = _real_images(against, model.image_shape)
    return model.sample(min(num_samples, len(dataset.x_train)), seed=0), dataset


def _real_images(against: str | None, image_shape: tuple[int, ...]) -> datasets.Dataset:
    """Return a dataset by name, or from a folder of images that are read with the given shape."""
    if against is None:
        if image_shape != (28, 28, 1):
            raise ValueError(
                f"the images have the shape {image_shape}: name the real images with --against DATASET or --against DIR"
            )
        return datasets.load("fashion_mnist")
    if Path(against).is_dir() and against not in datasets.names():
        return _read_folder(against, image_shape)
    if against not in datasets.names():
        raise ValueError(f"--against is {against!r}; expected a folder of images, or one of {', '.join(datasets.names())}")
    return datasets.load(against)


def _read_folder(path: str, image_shape: tuple[int, ...]) -> datasets.Dataset:
    if len(image_shape) != 3 or image_shape[2] not in (1, 3):
        raise ValueError(f"the images have the shape {image_shape}; expected (height, width, 1) or (height, width, 3)")
    # Half of the images are the reference, and the baseline is computed from the others.
    height, width, channels = image_shape
    mode: Literal["grey", "rgb"] = "grey" if channels == 1 else "rgb"
    return datasets.from_folder(path, size=(height, width), mode=mode, test_fraction=0.5)
