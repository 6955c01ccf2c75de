"""Live figures without a browser: the directive, the scripts' rules, and the export of a network."""

import base64
import json
import re
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
LIVE = ROOT / "_static" / "live"
sys.path.append(str(ROOT / "tools"))

import export_live  # noqa: E402
import live_images  # noqa: E402

CONFIGURATION = f"""
import sys
sys.path.insert(0, {str(ROOT / "_ext")!r})
extensions = ["myst_parser", "live"]
html_static_path = ["_static"]
# As Jupyter Book sets them.
html_js_files, html_css_files = ["live/start.js", "live/gan.js", "other.js"], ["live/live.css"]
"""
FIGURE = (
    '# Page\n\n```{figure} ../_static/live/gan.png\n:alt: Boots & "shoes".\n**A latent & space.** Move *one* slider.\n```\n'
)


def build(folder, **pages):
    """Build pages of Markdown with Sphinx. Return the HTML of each and the warnings."""
    source = folder / "source"
    (source / "_static" / "live").mkdir(parents=True)
    for name in ("start.js", "gan.js", "gan.png", "live.css"):
        shutil.copyfile(LIVE / name, source / "_static" / "live" / name)
    (source / "_static" / "other.js").write_text("")
    (source / "conf.py").write_text(CONFIGURATION)
    (source / "index.md").write_text("# Index\n\n```{toctree}\n:glob:\nparts/*\n```\n")
    (source / "parts").mkdir()
    for name, text in pages.items():
        (source / "parts" / f"{name}.md").write_text(text)
    with (folder / "warnings").open("w") as warnings, (folder / "output").open("w") as output:
        options = {"status": output, "warning": warnings, "freshenv": True}
        Sphinx(source, source, folder / "html", folder / "doctrees", "html", **options).build()
    html = {name: (folder / "html" / "parts" / f"{name}.html").read_text() for name in pages}
    return html, (folder / "warnings").read_text()


def test_a_page_with_a_figure_has_its_image_and_caption_and_loads_one_script(tmp_path):
    html, warnings = build(tmp_path, figure=FIGURE, text="# Text\n\nNo figure.\n")
    assert warnings == ""
    image = '<img class="live-still" src="../_static/live/gan.png" alt="Boots &amp; &quot;shoes&quot;." width="'
    assert image in html["figure"]
    assert "Start the live figure: A latent &amp; space</button>" in html["figure"]
    assert "<p><strong>A latent &amp; space.</strong> Move <em>one</em> slider.</p>" in html["figure"]
    assert 'data-folder="../_static/live/"' in html["figure"]
    scripts = {name: re.findall(r'src="../_static/([^"?]*\.js)', text) for name, text in html.items()}
    assert "live/start.js" in scripts["figure"] and "live/gan.js" not in scripts["figure"]
    assert not any(script.startswith("live/") for script in scripts["text"])
    assert "other.js" in scripts["figure"] and "other.js" in scripts["text"]
    assert "live/live.css" in html["figure"] and "live/live.css" not in html["text"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```{figure} _static/live/unknown.png\n:alt: x\n**A.** B\n```", "unknown has no file _static/live/unknown.js"),
        ("```{figure} _static/live/gan.png\n**A.** Caption.\n```", "needs the option alt"),
        ("```{figure} _static/live/gan.png\n:alt: x\nCaption.\n```", "and a caption with a title in bold"),
        ("```{figure} _static/live/gan.png\n:alt: x\n```", "and a caption with a title in bold"),
    ],
)
def test_an_incomplete_figure_is_a_warning(tmp_path, text, message):
    assert message in build(tmp_path, page=f"# Page\n\n{text}\n")[1]


def test_every_figure_is_on_the_page_of_live_figures_and_has_a_still_image():
    page = (ROOT / "chapters" / "start" / "playground.md").read_text()
    assert sorted(re.findall(r"^```\{figure\} ../../_static/live/(\w+)\.png$", page, re.MULTILINE)) == live_images.figures()
    assert [name for name in live_images.figures() if not (LIVE / f"{name}.png").is_file()] == []


@pytest.mark.parametrize("file", sorted(LIVE.glob("*.js")), ids=lambda file: file.name)
def test_scripts_work_in_a_page_from_disk(file):
    """Modules and requests for files fail there, and another host must not be asked."""
    text = re.sub(r"^\s*//.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert re.findall(r"^\s*(?:import|export)\b|\b(?:import|fetch|importScripts)\(|XMLHttpRequest|https?://", text) == []


def test_the_record_of_a_script_holds_weights_in_half_precision():
    text = export_live.script("one", {"classes": ["a"]}, {"x": np.array([[1.0, -0.1]]), "y": np.array(3)})
    content = json.loads(re.fullmatch(r'imggenLive\.pack\("one", (.*)\);\n', text)[1])
    assert content["record"] == {"classes": ["a"]}
    assert content["arrays"] == [{"name": "x", "shape": [1, 2]}, {"name": "y", "shape": []}]
    halves = np.frombuffer(base64.b64decode(content["data"]), "<f2")
    np.testing.assert_array_equal(halves, np.float16([1.0, -0.1, 3]))


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_weights_outside_half_precision_are_refused(value):
    with pytest.raises(ValueError, match="x has a number that is not finite in half precision"):
        export_live.script("one", {}, {"x": np.array([value])})


@pytest.mark.parametrize("shape", [(5, 3), (1, 4), (3, 3, 2, 5), (7,)])
@pytest.mark.parametrize("size", [1e-4, 0.05, 30])
def test_quantised_arrays_differ_by_at_most_half_a_scale(shape, size):
    array = np.random.default_rng(0).normal(0, size, shape).astype(np.float32)
    array[..., 0] = 0
    found = export_live.quantise(array)
    assert found.codes.dtype == np.int8 and found.codes.shape == shape and found.scales.shape == shape[-1:]
    scales = found.scales.astype(np.float32)
    assert (np.abs(found.values - array) <= 0.5001 * scales).all()
    largest = np.abs(array).max(axis=tuple(range(array.ndim - 1)))
    # Half precision rounds a scale up, to 1/1024 above it, or to a multiple of the smallest number.
    assert (127 * scales <= largest * (1 + 2**-9) + 127 * 2**-24).all()
    assert (found.values[..., 0] == 0).all()


def test_a_script_holds_half_precision_before_bytes():
    matrix = np.array([[1.0, -0.5], [0.25, 0.5]], np.float32)
    text = export_live.script("one", {}, export_live.quantise_matrices({"m": matrix, "v": np.array([2.0, 3.0])}))
    content = json.loads(re.fullmatch(r'imggenLive\.pack\("one", (.*)\);\n', text)[1])
    assert content["arrays"] == [{"name": "m", "shape": [2, 2], "quantised": True}, {"name": "v", "shape": [2]}]
    data = base64.b64decode(content["data"])
    halves, codes = np.frombuffer(data[:8], "<f2"), np.frombuffer(data[8:], np.int8)
    np.testing.assert_array_equal(halves[2:], [2, 3])
    np.testing.assert_allclose(codes.reshape(2, 2) * halves[:2].astype(np.float32), matrix, atol=0.5 / 127)


def test_networks_with_a_common_name_of_a_weight_are_refused():
    with pytest.raises(ValueError, match="two networks have weights with the name b; give their layers different names"):
        export_live.joined({"a": np.ones(1), "b": np.ones(1)}, {"b": np.ones(1)})


def test_operations_and_further_outputs_are_described():
    image = keras.Input((4, 6), name="image")
    first, second = keras.ops.split(image, 2, axis=2)
    flag = keras.ops.expand_dims(first[:, 1:3, 0], -1)
    network = keras.Model(image, keras.ops.concatenate([flag, second[:, :2]], axis=2))
    nodes = export_live.describe(network)[0]["nodes"]
    split, *items = (node for node in nodes if node["op"] in ("Split", "GetItem"))
    assert {node["inputs"][0]: node["options"]["index"] for node in items} == {
        split["name"]: [{"start": 1, "stop": 3, "step": None}, 0],
        f"{split['name']}:1": [{"start": None, "stop": 2, "step": None}],
    }
    assert nodes[-1]["options"]["axis"] == 2


def test_a_network_is_described_by_its_layers():
    image = keras.Input((4, 4, 1), name="image")
    x = layers.Conv2D(2, 3, padding="same", name="conv")(image)
    network = keras.Model(image, layers.Add(name="sum")([x, 2 * x + 1]))
    description, arrays = export_live.describe(network)
    nodes = {node["name"]: node for node in description["nodes"]}
    assert description["output"] == "sum"
    assert nodes["image"]["options"] == {"shape": [4, 4, 1]}
    assert nodes["conv"]["inputs"] == ["image"] and nodes["conv"]["weights"] == ["conv/kernel", "conv/bias"]
    assert nodes["conv"]["options"]["strides"] == (1, 1) and nodes["conv"]["options"]["padding"] == "same"
    assert nodes["sum"]["inputs"][0] == "conv"
    product, total = (next(node for node in description["nodes"] if node["op"] == op) for op in ("Multiply", "Add"))
    assert product["inputs"] == [2, "conv"] and total["inputs"] == [product["name"], 1]
    np.testing.assert_array_equal(arrays["conv/kernel"], network.get_layer("conv").kernel)


def test_a_layer_that_is_used_twice_is_refused():
    image = keras.Input((4,))
    dense = layers.Dense(4, name="shared")
    with pytest.raises(ValueError, match="the layer shared is used 2 times; expected once"):
        export_live.describe(keras.Model(image, dense(dense(image))))
