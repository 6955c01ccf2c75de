"""The command line: ``imggen list | train | sample | score``. Every error is one line that says what to do."""

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

from imggen_lib import _validation as validate
from imggen_lib import datasets, io, pretrained
from imggen_lib.datasets import marble_captions

# TensorFlow's notes on which processor instructions it uses are of no use to someone who asked for pictures.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SCORED = 5000
DESCRIBED, GUIDANCE = 500, 2.0


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process without it.

    Returns
    -------
    int
        The exit status: 0 if all went well, 1 on an error, 130 if it was stopped.

    Examples
    --------
    >>> main(["score", "nowhere.npz"])
    1
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("imggen: stopped", file=sys.stderr)
        return 130
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"imggen: {error}", file=sys.stderr)
    except MemoryError as error:
        print(f"imggen: there is not enough memory ({error}); ask for fewer pictures at a time", file=sys.stderr)
    except OSError as error:
        print(
            f"imggen: a file could not be written or read ({error.strerror or error}). What was there before is "
            "untouched; make room or choose another place, and run it again",
            file=sys.stderr,
        )
    return 1


def _parser():
    parser = argparse.ArgumentParser(
        prog="imggen", description="Train, sample and score the generative models of the book."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="list models and datasets")
    command.set_defaults(run=_list)

    command = commands.add_parser("train", help="train a model")
    command.add_argument("model", metavar="MODEL", help=f"one of {', '.join(recipes.names())}")
    command.add_argument("--dataset", metavar="NAME", help="instead of the profile's own")
    command.add_argument("--profile", metavar="quick|full", help="how long to train (default: IMGGEN_PROFILE, or quick)")
    command.add_argument("--seconds", type=float, metavar="N", help="train exactly that long instead")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, batches and noise (default: 0)")
    command.add_argument(
        "--devices", type=int, default=1, metavar="N", help="share each batch among N devices (JAX; default: 1)"
    )
    command.add_argument("--resume", action="store_true", help="go on where an earlier training of this file stopped")
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE.keras", help="or FILE.npz: weights alone, as shipped"
    )
    command.set_defaults(run=_train)

    command = commands.add_parser("sample", help="draw pictures")
    command.add_argument("model", metavar="MODEL|FILE", help="a shipped model's name, or a file written by train")
    command.add_argument("-n", type=int, default=64, metavar="N", help="how many (default: 64)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same pictures (default: 0)")
    command.add_argument("--label", metavar="CLASS", help="only of this class (conditional models)")
    command.add_argument("--caption", metavar="TEXT", help="'a large red marble, lit from the left' (marble_diffusion)")
    command.add_argument(
        "--guidance", type=float, metavar="W", help="overdo the class or caption: 1 is as learnt (diffusion models)"
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.npz|FILE.png")
    command.set_defaults(run=_sample)

    command = commands.add_parser("score", help="compare pictures with a dataset's test images")
    command.add_argument("file", type=Path, metavar="FILE.npz", help="with one array: images")
    command.add_argument("--dataset", default="fashion_mnist", metavar="NAME", help="(default: fashion_mnist)")
    command.set_defaults(run=_score)
    return parser


def _list(arguments):
    print("models")
    for name in recipes.names():
        print(f"  {name:16} {recipes.get(name).summary}")
        state = "a recipe without shipped weights: train it"
        if name in pretrained.shipped():
            facts = pretrained.record(name)
            state = f"{facts['quality']}; trained {facts['seconds'] / 60:.0f} min on {facts['dataset']}"
        print(f"  {'':16} {state}")
    print("datasets")
    for name in datasets.names():
        print(f"  {name}")
    return 0


def _train(arguments):
    recipe, output = recipes.get(arguments.model), arguments.output
    if output.suffix not in (".keras", ".npz"):
        raise ValueError(f"the output is {output}; expected a name that ends in .keras, or in .npz for weights alone")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"the folder {output.parent} does not exist: create it, or choose another place")
    seed = validate.integer(arguments.seed, "--seed", minimum=0)
    if arguments.seconds is not None:
        validate.real(arguments.seconds, "--seconds", minimum=1)

    from imggen_lib import backend, training

    profile = arguments.profile or profile.current()
    budget = recipe.budget(profile)
    dataset = datasets.load(arguments.dataset or budget.dataset)
    told = "classes" if dataset.y_train.ndim == 1 else "captions"
    if recipe.learns_from not in (None, told):
        raise ValueError(f"{recipe.name} learns from {recipe.learns_from}, and {dataset.name} has {told}")
    partial = output.with_suffix(".partial.keras")
    # A learning rate that falls over a number of steps cannot be resumed as one that does not.
    kind = f"{budget.steps} steps" if arguments.seconds is None else "seconds"
    steps = budget.steps if arguments.seconds is None else None
    with backend.data_parallel(arguments.devices, recipe.batch_size):
        if arguments.resume:
            model, record = _load(partial if partial.is_file() else output)
            asked = {"model": recipe.name, "dataset": dataset.name, "seed": seed, "profile": profile, "budget": kind}
            for key, value in asked.items():
                if record.get(key) != value:
                    raise ValueError(
                        f"--resume: that training has {key} {record.get(key)!r}, not {value!r}; give the same again"
                    )
        else:
            model = _fresh(recipe, dataset, seed, steps)
            record = _new_record(recipe, dataset, seed, profile, kind, arguments.devices)
        budgets = {"steps": steps, "seconds": arguments.seconds}
        finished = training.train(
            model, dataset, record, **budgets, batch_size=recipe.batch_size, seed=seed, checkpoint=partial
        )
    if not finished:
        print(
            f"imggen: stopped after {record['steps']} steps, kept in {partial}; the same command with --resume goes on",
            file=sys.stderr,
        )
        return 130

    # Kept before it is judged: whatever is wrong with the score must not cost the training.
    training.save(model, partial, record)
    record["quality"] = _quality(model, recipe, dataset)
    if output.suffix == ".npz":
        pretrained.export(model, output, record)
    else:
        training.save(model, output, record)
    partial.unlink(missing_ok=True)
    print(f"{output}: {record['steps']} steps in {record['seconds']:.0f} s; {record['quality']}")
    return 0


def _fresh(recipe, dataset, seed, steps):
    """A model before its first step."""
    import keras

    from imggen_lib import backend

    keras.utils.set_random_seed(seed)
    with backend.mixed_precision(recipe.mixed_precision):
        model = recipe.build(dataset.image_shape, len(dataset.class_names), seed)
    model.compile(optimizer=recipe.optimizer(steps))
    return model


def _load(path):
    """Load a file that ``train`` wrote."""
    from imggen_lib import training

    model, record = training.load(path)
    missing = {"model", "dataset", "class_names", "seed", "steps", "seconds"} - set(record)
    if missing:
        raise ValueError(f"{path} was not written by imggen train: its record lacks {', '.join(sorted(missing))}")
    return model, record


def _new_record(recipe, dataset, seed, profile, kind, devices):
    """What is known of a training before it begins."""
    import keras

    from imggen_lib import backend

    with backend.mixed_precision(recipe.mixed_precision):
        precision = keras.config.dtype_policy().name
    return {
        "model": recipe.name,
        "dataset": dataset.name,
        "image_shape": list(dataset.image_shape),
        "class_names": dataset.class_names,
        "profile": profile,
        "budget": kind,
        "seed": seed,
        "batch_size": recipe.batch_size,
        "steps": 0,
        "seconds": 0.0,
        "started": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "software": f"Keras {keras.__version__} on {keras.backend.backend()}, Python {platform.python_version()}",
        "devices": devices,
        "precision": precision,
    }


def _quality(model, recipe, dataset):
    """Measure a trained model, in words."""
    from imggen_lib import evaluation

    if dataset.class_names == marble_captions.WORDS and (model.num_classes or not recipe.generates):
        return _quality_with_captions(model, recipe, dataset)
    if not recipe.generates:
        right = model.classify(dataset.x_test).argmax(axis=1) == dataset.y_test
        return f"accuracy {right.mean():.1%} on {len(right):,} test images"
    if dataset.class_names != datasets.CLOTHES:
        return f"not scored: there are no features for {dataset.name}"
    return str(evaluation.score(model.sample(min(SCORED, len(dataset.x_train)), seed=0), dataset))


def _quality_with_captions(model, recipe, dataset):
    if not recipe.generates:
        right = model.read(dataset.x_test) == marble_captions.decode(dataset.y_test)
        words, whole = right.mean(), right.all(axis=1).mean()
        return f"{words:.1%} of words and {whole:.1%} of whole captions right on {len(right):,} test images"
    from imggen_lib import evaluation

    parts = []
    for name, among in zip(("seen", "held-out"), marble_captions.combinations(), strict=True):
        choices = np.random.default_rng(0).choice(among, DESCRIBED)
        told = marble_captions.encode([marble_captions.caption(choice) for choice in choices])
        images = model.sample(DESCRIBED, seed=0, labels=told, guidance_scale=GUIDANCE)
        right = evaluation.shows(images, choices)
        parts.append(f"{right.mean():.1%} of words and {right.all(axis=1).mean():.1%} of whole {name} captions shown")
    return f"{' and '.join(parts)}, {DESCRIBED} images each with guidance {GUIDANCE:g}"


def _sample(arguments):
    output = arguments.output
    if output.suffix not in (".npz", ".png"):
        raise ValueError(f"the output is {output}; expected a name that ends in .npz or .png")
    n = validate.integer(arguments.n, "-n")
    seed = validate.integer(arguments.seed, "--seed", minimum=0)
    if arguments.model in pretrained.shipped():
        model, facts = pretrained.load(arguments.model), pretrained.record(arguments.model)
    elif Path(arguments.model).suffix == ".keras":
        model, facts = _load(arguments.model)
    else:
        raise ValueError(
            f"{arguments.model!r} is neither a shipped model ({', '.join(pretrained.shipped())}) nor a .keras file"
        )
    if not recipes.get(facts["model"]).generates:
        raise ValueError(f"{facts['model']} does not draw pictures: choose another model")
    options = {"labels": _told(arguments, model, facts, n, seed)}
    if arguments.guidance is not None:
        from imggen_lib import models

        if not isinstance(model, models.Diffusion) or not model.num_classes:
            raise ValueError(f"{facts['model']} knows no guidance: only diffusion models that are told something do")
        options["guidance"] = validate.real(arguments.guidance, "--guidance", minimum=0)
    images = model.sample(n, seed=seed, **options)
    with io.replacing(output) as temporary:
        if output.suffix == ".npz":
            np.savez_compressed(temporary, images=images)
        else:
            import PIL.Image

            from imggen_lib.notebook import figures

            sheet = figures.contact_sheet(images, columns=int(np.ceil(np.sqrt(n))))
            PIL.Image.fromarray(np.round(sheet * 255).astype(np.uint8)).save(temporary)
    print(f"{output}: {n} images of {facts['model']}, seed {seed}")
    return 0


def _told(arguments, model, facts, n, seed):
    """What a model is told to draw: classes, or captions; None if it is told nothing."""
    label, caption, name = arguments.label, arguments.caption, facts["model"]
    if tuple(facts["class_names"]) == marble_captions.WORDS and model.num_classes:
        if label is not None:
            raise ValueError(f"{name} draws from captions: write --caption instead of --label")
        if caption is None:
            choices = np.random.default_rng(seed).choice(marble_captions.combinations()[0], n)
            return marble_captions.encode([marble_captions.caption(choice) for choice in choices])
        return np.repeat(marble_captions.encode(caption), n, axis=0)
    if caption is not None:
        raise ValueError(f"{name} was trained without captions; marble_diffusion draws from them")
    if label is None:
        return None
    if model.num_classes is None:
        raise ValueError(f"{name} was trained without labels and cannot draw a chosen class")
    return np.full(n, facts["class_names"].index(validate.choice(label, "--label", facts["class_names"])))


def _score(arguments):
    images = io.read_npz(arguments.file, ["images"])["images"]
    dataset = datasets.load(arguments.dataset)
    from imggen_lib import evaluation

    print(evaluation.score(images, dataset))
    if len(images) > evaluation.NEIGHBOURS:
        for name, (value, real) in evaluation.measures(images, dataset).items():
            print(f"{name} {value:.3f} (real images: {real:.3f})")
    return 0
