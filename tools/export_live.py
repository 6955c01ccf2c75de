"""Write the models of the live figures as scripts: ``python tools/export_live.py``.

A page that is opened from disk can load scripts, but no other files, so each script ``weights/NAME.js`` holds a description
of the network and, as text in base64, its weights in half precision, which is the precision of the shipped files.
``_static/live/runtime.js`` evaluates the description. ``tools/book.py build`` calls this script, so the built book has the
weights, and the repository has them once, in ``data/weights``.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "_build" / "live" / "weights"
#: Settings of layers that the runtime reads.
OPTIONS = (
    "activation", "cropping", "epsilon", "groups", "key_dim", "negative_slope", "num_heads", "offset", "padding",
    "pool_size", "scale", "strides", "target_shape",
)  # fmt: skip

Content = tuple[dict[str, Any], dict[str, np.ndarray]]


def main() -> None:
    """Write all scripts and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="where to write them")
    for file in export(parser.parse_args().folder):
        print(f"export_live: {file.stat().st_size / 1000:7.0f} kB  {file}")


def export(folder: Path) -> list[Path]:
    """Write the scripts of all models into a folder and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, make in MODELS.items():
        record, arrays = make()
        files.append(folder / f"{name}.js")
        files[-1].write_text(script(name, record, arrays), encoding="utf-8")
    return files


def script(name: str, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    r"""Return the script that hands a model to ``live.js``.

    Raises
    ------
    ValueError
        If a weight is not finite in half precision.

    Examples
    --------
    >>> script("one", {}, {"x": np.ones(2)})
    'imggenLive.pack("one", {"record": {}, "arrays": [{"name": "x", "shape": [2]}], "data": "ADwAPA=="});\n'
    """
    with np.errstate(over="ignore"):
        halves = {key: np.asarray(array).astype("<f2") for key, array in arrays.items()}
    for key, array in halves.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: {key} has a number that is not finite in half precision")
    content = {
        "record": record,
        "arrays": [{"name": key, "shape": list(array.shape)} for key, array in halves.items()],
        "data": base64.b64encode(b"".join(array.tobytes() for array in halves.values())).decode(),
    }
    return f"imggenLive.pack({json.dumps(name)}, {json.dumps(content)});\n"


def describe(network: Any) -> Content:
    """Return a functional Keras network as the nodes that ``runtime.js`` evaluates, and its weights by name.

    Raises
    ------
    ValueError
        If a layer is used twice or has an input that is neither a layer nor numbers.
    """
    nodes, arrays = [], {}
    configuration = network.get_config()
    operations = {operation.name: operation for operation in network.operations}
    for entry in configuration["layers"]:
        name, settings = entry["name"], entry["config"]
        if len(entry["inbound_nodes"]) > 1:
            raise ValueError(f"the layer {name} is used {len(entry['inbound_nodes'])} times; expected once")
        inputs = [item for call in entry["inbound_nodes"] for item in flat(call["args"])]
        options = {key: settings[key] for key in OPTIONS if key in settings}
        if entry["class_name"] == "InputLayer":
            options = {"shape": list(settings["batch_shape"][1:])}
        weights = {}
        for weight in getattr(operations[name], "weights", []):
            weights[f"{name}/{weight.path.rpartition(f'{name}/')[2]}"] = np.asarray(weight)
        arrays |= weights
        nodes.append({
            "name": name, "op": entry["class_name"], "inputs": [source(item, name) for item in inputs],
            "options": options, "weights": list(weights),
        })  # fmt: skip
    output = configuration["output_layers"]
    while isinstance(output[0], list):
        (output,) = output
    return {"nodes": nodes, "output": output[0]}, arrays


def flat(items: list[Any]) -> Iterator[Any]:
    """Yield the inputs of a layer, of which some take them as a list."""
    for item in items:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item


def source(item: Any, name: str) -> Any:
    """Return an input of a layer: the name of a node, or numbers."""
    if isinstance(item, dict) and item["class_name"] == "__keras_tensor__":
        return item["config"]["keras_history"][0]
    if isinstance(item, dict) and item["class_name"] == "__tensor__":
        return item["config"]["value"]
    if isinstance(item, int | float):
        return item
    raise ValueError(f"the layer {name} has the input {item!r}; expected the output of a layer, or numbers")


# The models


def gan() -> Content:
    """Return the generator of the shipped GAN, and for each class the mean latent vector of the samples of that class.

    The class of a sample is what the shipped classifier finds most probable.
    """
    from imggen_lib import pretrained

    model = pretrained.load("gan")
    description, arrays = describe(model.average.network)
    latent = np.random.default_rng(0).standard_normal((4000, model.latent_dim)).astype(np.float32)
    found = pretrained.load("classifier").predict_proba(model.generate(latent)).argmax(axis=1)
    names = pretrained.record("gan")["condition"]["names"]
    means = [latent[found == label].mean(axis=0) for label in range(len(names))]
    return {"network": description, "classes": names}, {**arrays, "means": np.stack(means)}


def vae_2d() -> Content:
    """Return the decoder of the shipped VAE of two latent dimensions, and codes of test images with their classes."""
    from imggen_lib import datasets, pretrained

    model, clothes = pretrained.load("vae_2d"), datasets.load("fashion_mnist")
    description, arrays = describe(model.decoder)
    codes, _ = model.encode(clothes.x_test[:1000])
    record = {"network": description, "classes": pretrained.record("vae_2d")["condition"]["names"]}
    return record, {**arrays, "codes": codes, "labels": clothes.y_test[:1000]}


def diffusion() -> Content:
    """Return the network of the shipped diffusion model."""
    from imggen_lib import pretrained

    description, arrays = describe(pretrained.load("diffusion").average.network)
    return {"network": description, "classes": pretrained.record("diffusion")["condition"]["names"]}, arrays


def classifier() -> Content:
    """Return the shipped classifier, from an image to logits."""
    import keras

    from imggen_lib import pretrained

    model = pretrained.load("classifier")
    description, arrays = describe(keras.Model(model.body.input, model.head(model.body.output)))
    return {"network": description, "classes": pretrained.record("classifier")["condition"]["names"]}, arrays


#: The models by the names of their scripts.
MODELS: dict[str, Callable[[], Content]] = {
    "gan": gan,
    "vae_2d": vae_2d,
    "diffusion": diffusion,
    "classifier": classifier,
}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
