"""Write the models of the live figures as scripts: ``python tools/export_live.py``.

A page that is opened from disk can load scripts, but no other files, so each script ``weights/NAME.js`` holds a description
of the network and, as text in base64, its weights: in half precision, which is the precision of the shipped files, or, for
the largest models, as bytes with a scale for each column.
``_static/live/runtime.js`` evaluates the description. ``tools/book.py build`` calls this script, so the built book has the
weights, and the repository has them once, in ``data/weights``.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "_build" / "live" / "weights"
#: Settings of layers that the runtime reads.
OPTIONS = (
    "activation", "axes", "axis", "causal", "cropping", "depth", "epsilon", "groups", "heads", "key_dim", "negative_slope",
    "newshape", "num_codes", "num_heads", "offset", "padding", "pool_size", "scale", "shared_modulation", "strides",
    "target_shape",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Quantised:
    """An array as bytes: int8 ``codes`` of its shape times float16 ``scales``, one for each index of the last axis."""

    codes: np.ndarray
    scales: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The float32 array that the browser computes with."""
        return self.codes * self.scales.astype(np.float32)


Content = tuple[dict[str, Any], dict[str, np.ndarray | Quantised]]


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


def quantise(array: np.ndarray) -> Quantised:
    """Round an array to multiples of a scale for each index of its last axis, with the largest value at most 127 of them.

    Examples
    --------
    >>> quantise(np.array([[1.27, 0.0], [-0.5, 0.0]])).codes.tolist()
    [[127, 0], [-50, 0]]
    """
    largest = np.abs(array).max(axis=tuple(range(array.ndim - 1)), initial=0)
    scales = (largest / 127).astype(np.float16)
    # Rounding the scale down must not make a code larger than 127.
    scales = np.where(scales * np.float32(127) < largest, np.nextafter(scales, np.float16(np.inf)), scales)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.nan_to_num(np.rint(array / scales.astype(np.float32)))
    return Quantised(codes.astype(np.int8), scales)


def quantise_matrices(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray | Quantised]:
    """Quantise the arrays of two and more axes. Biases and scales stay as they are."""
    return {key: quantise(array) if array.ndim > 1 else array for key, array in arrays.items()}


def script(name: str, record: dict[str, Any], arrays: dict[str, np.ndarray | Quantised]) -> str:
    r"""Return the script that hands a model to ``live.js``.

    All numbers in half precision, among them the scales of quantised arrays, come first, and all bytes after them.

    Raises
    ------
    ValueError
        If a weight is not finite in half precision.

    Examples
    --------
    >>> script("one", {}, {"x": np.ones(2)})
    'imggenLive.pack("one", {"record": {}, "arrays": [{"name": "x", "shape": [2]}], "data": "ADwAPA=="});\n'
    """
    entries, halves, codes = [], [], []
    for key, array in arrays.items():
        quantised = isinstance(array, Quantised)
        with np.errstate(over="ignore"):
            half = (array.scales if quantised else np.asarray(array)).astype("<f2")
        if not np.isfinite(half).all():
            raise ValueError(f"{name}: {key} has a number that is not finite in half precision")
        halves.append(half)
        if quantised:
            codes.append(array.codes)
        shape = list((array.codes if quantised else half).shape)
        entries.append({"name": key, "shape": shape, **({"quantised": True} if quantised else {})})
    content = {
        "record": record,
        "arrays": entries,
        "data": base64.b64encode(b"".join(array.tobytes() for array in halves + codes)).decode(),
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
        options = {key: settings[key] for key in OPTIONS if key in settings}
        arguments = [item for call in entry["inbound_nodes"] for item in (*call["args"], *named_tensors(call["kwargs"]))]
        if entry["class_name"] == "GetItem":
            # The second argument is the index, which begins with the axis of the batch.
            _, *index = arguments.pop()
            options["index"] = [item["config"] if isinstance(item, dict) else item for item in index]
        inputs = list(flat(arguments))
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


def named_tensors(arguments: dict[str, Any]) -> list[Any]:
    """Return the outputs of other layers among the named arguments of a call."""
    return [item for item in arguments.values() if isinstance(item, dict) and item["class_name"] == "__keras_tensor__"]


def flat(items: list[Any]) -> Iterator[Any]:
    """Yield the inputs of a layer, of which some take them as a list."""
    for item in items:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item


def source(item: Any, name: str) -> Any:
    """Return an input of a layer: the name of a node, with a colon and a number for its further outputs, or numbers."""
    if isinstance(item, dict) and item["class_name"] == "__keras_tensor__":
        node, _, index = item["config"]["keras_history"]
        return f"{node}:{index}" if index else node
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


def emoji_tokens() -> Content:
    """Return the transformer over tokens of scenes of emoji, the codebook, the decoder, and the words of captions."""
    from imggen_lib import pretrained

    model = pretrained.load("emoji_tokens")
    record, arrays = describe(model.average.network)
    decoder, of_decoder = describe(model.autoencoder.decoder)
    codebook = {"codebook": np.asarray(model.autoencoder.quantizer.codebook)}
    content = {"network": record, "decoder": decoder, "token_shape": model.token_shape, **captions()}
    return content, quantise_matrices(joined(arrays, of_decoder)) | codebook


def emoji_diffusion() -> Content:
    """Return the rectified flow of latents of scenes of emoji, the decoder of latents, and the words of captions.

    Raises
    ------
    ValueError
        If the network predicts something else than the velocity.
    """
    from imggen_lib import pretrained

    model = pretrained.load("emoji_diffusion")
    if model.prediction != "velocity":
        raise ValueError(f"the network of emoji_diffusion predicts the {model.prediction}; expected the velocity")
    record, arrays = describe(model.average.network)
    decoder, of_decoder = describe(model.autoencoder.decoder)
    mean, variance = (np.asarray(value) for value in (model.autoencoder.latent_mean, model.autoencoder.latent_variance))
    latent = {"shape": model.autoencoder.latent_shape, "mean": mean.tolist(), "std": np.sqrt(variance).tolist()}
    content = {"network": record, "decoder": decoder, "latent": latent, **captions()}
    return content, quantise_matrices(joined(arrays, of_decoder))


def captions() -> dict[str, Any]:
    """Return what a figure needs to turn captions of scenes of emoji into rows of word numbers."""
    from imggen_lib.datasets import captioned_emoji, composed_emoji, emoji

    return {
        "vocabulary": composed_emoji.VOCABULARY, "length": captioned_emoji.LENGTH, "styles": composed_emoji.STYLES,
        "attribution": emoji.ATTRIBUTION,
    }  # fmt: skip


def joined(*parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights of several networks in one dictionary.

    Raises
    ------
    ValueError
        If two of them have one name.
    """
    found: dict[str, np.ndarray] = {}
    for part in parts:
        if common := sorted(set(found) & set(part)):
            raise ValueError(f"two networks have weights with the name {common[0]}; give their layers different names")
        found |= part
    return found


#: The models by the names of their scripts.
MODELS: dict[str, Callable[[], Content]] = {
    "gan": gan,
    "vae_2d": vae_2d,
    "diffusion": diffusion,
    "classifier": classifier,
    "emoji_tokens": emoji_tokens,
    "emoji_diffusion": emoji_diffusion,
}


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
