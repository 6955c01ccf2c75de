"""The live figures with trained models: every layer compared with Keras, and the behaviour of the figures in Chromium."""

import json
import re

import keras
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from inspection import HTML, LEVELS, live_images

from imggen_lib import models, pretrained
from imggen_lib.datasets import captioned_emoji, composed_emoji, emoji
from imggen_lib.models.diffusion import rectified_flow, sampler
from imggen_lib.models.vq.prior import choose_tokens

export_live = live_images.export_live

FIGURES = ("gan", "vae_map", "diffusion", "tokens", "emoji")
CLASSES = 10
CAPTION = "two blue octopuses left of a red apple, noto style"


# --- Arithmetic ---


@pytest.fixture(scope="module")
def shipped(token_model, flow_model):
    """The networks that the scripts hold, by name; built once, because Keras numbers layers without a name."""
    classifier = pretrained.load("classifier")
    return {
        "gan": pretrained.load("gan").average.network,
        "vae_2d": pretrained.load("vae_2d").decoder,
        "diffusion": pretrained.load("diffusion").average.network,
        "classifier": keras.Model(classifier.body.input, classifier.head(classifier.body.output)),
        "emoji_tokens": token_model.average.network,
        "emoji_tokens/decoder": token_model.autoencoder.decoder,
        "emoji_diffusion": flow_model.average.network,
        "emoji_diffusion/decoder": flow_model.autoencoder.decoder,
    }


def with_sent_weights(model):
    """The model with the weights that its script holds: matrices rounded to bytes with a scale for each column."""
    for network in (model.average.network, model.autoencoder.decoder):
        arrays = {weight.path: np.asarray(weight) for weight in network.weights if weight.dtype == "float32"}
        sent = export_live.quantise_matrices(arrays)
        for weight in network.weights:
            if isinstance(sent.get(weight.path), export_live.Quantised):
                weight.assign(sent[weight.path].values)
    return model


@pytest.fixture(scope="module")
def token_model():
    return with_sent_weights(pretrained.load("emoji_tokens"))


@pytest.fixture(scope="module")
def flow_model():
    return with_sent_weights(pretrained.load("emoji_diffusion"))


@pytest.fixture(scope="module")
def core(chromium, live_folder):
    """A tab with the shared scripts and the models. ``net("NAME")`` and ``net("NAME/decoder")`` are networks of a model."""
    context = chromium.new_context()
    tab = context.new_page()
    folder = live_folder / "_static" / "live"
    for name in ("live", "runtime", "sampler", "caption"):
        tab.add_script_tag(path=folder / f"{name}.js")
    for file in (folder / "weights").iterdir():
        tab.add_script_tag(path=file)
    tab.evaluate(
        """() => {
          window.made = {};
          window.described = key => {
            const [name, part = "network"] = key.split("/"), {record, arrays} = imggenLive.weights(name);
            return [arrays, record[part]];
          };
          window.net = key => made[key] ??= imggenLive.network(...described(key));
          window.captions = imggenLive.captions(imggenLive.weights("emoji_tokens").record);
        }"""
    )
    yield tab
    context.close()


def inputs_of(network, rng):
    """Standard normal inputs for one image, as Keras and as the runtime take them; a condition is one-hot or a caption."""
    arrays = {}
    for given in network.inputs:
        shape = (1, *given.shape[1:])
        if given.name == "condition":
            arrays[given.name] = (
                caption_row() if shape[1] == captioned_emoji.LENGTH else np.eye(CLASSES, dtype="float32")[3:4]
            )
        elif given.name == "tokens":
            arrays[given.name] = rng.integers(network.output_shape[-1], size=shape)
        else:
            arrays[given.name] = rng.standard_normal(shape).astype(np.float32)
    return arrays, {name: array.ravel().tolist() for name, array in arrays.items()}


def caption_row(caption=CAPTION):
    return captioned_emoji.encode(caption)


VALUES = """([name, inputs]) => {
  const network = net(name), [, {nodes}] = described(name);
  network.run(inputs);
  return nodes.filter(node => node.op !== "InputLayer").map(({name, op}) => {
    const {shape, data} = network.value(name);
    return {name, op, shape, data: [...data]};
  });
}"""


EMOJI = [f"emoji_{name}{part}" for name in ("tokens", "diffusion") for part in ("", "/decoder")]


@pytest.mark.parametrize("name", ["gan", "vae_2d", "diffusion", "classifier", *EMOJI])
def test_every_layer_matches_keras_for_the_same_noise(core, shipped, name):
    network = shipped[name]
    layers = [layer for layer in network.operations if not isinstance(layer, keras.layers.InputLayer)]
    arrays, lists = inputs_of(network, np.random.default_rng(0))
    every = keras.Model(network.inputs, [keras.tree.flatten(layer.output)[0] for layer in layers])
    expected = every(list(arrays.values()))
    found = core.evaluate(VALUES, [name, lists])
    assert [one["op"] for one in found] == [type(layer).__name__ for layer in layers]
    for one, value in zip(found, map(np.asarray, expected), strict=True):
        assert np.prod(one["shape"]) == value.size, one["name"]
        # Of outputs as large as 30, float32 resolves 2e-6. The error of larger ones is proportional to them.
        allowed = 1e-4 * max(1, np.abs(value).max() / 30)
        np.testing.assert_allclose(one["data"], value.ravel(), atol=allowed, rtol=0, err_msg=one["name"])


def test_images_of_the_shipped_generators_match_to_less_than_a_grey_level(core, shipped):
    """The scripts hold the numbers of the shipped files, in the same half precision, so only rounding differs."""
    rng = np.random.default_rng(1)
    for name in ("gan", "vae_2d"):
        latent = rng.standard_normal((20, shipped[name].inputs[0].shape[-1])).astype(np.float32)
        expected = models.predict(shipped[name], latent).reshape(20, -1)
        found = core.evaluate(
            """([name, rows]) => {
              const network = net(name), [input] = Object.keys(network.inputs);
              return rows.map(row => [...network.run({[input]: row})]);
            }""",
            [name, latent.tolist()],
        )
        assert np.abs(np.array(found) - expected).max() < 1e-4


@pytest.mark.parametrize(("steps", "order", "scale"), [(1, 1, 1), (4, 1, 0), (6, 2, 2.5)])
def test_the_sampler_matches_the_library(core, steps, order, scale):
    model = pretrained.load("diffusion")
    noise = np.random.default_rng(2).standard_normal((1, 28, 28, 1))

    def velocity(noisy, angle):
        return model.predict_velocity(noisy, angle, labels=[4], guidance_scale=scale)

    expected = sampler.reverse_diffusion(velocity, noise, rng=np.random.default_rng(0), steps=steps, order=order)
    found = core.evaluate(
        """([noise, steps, order, scale]) => {
          const predict = imggenLive.guided(net("diffusion")), row = new Float32Array(10).fill(1, 4, 5);
          const sampler = imggenLive.sampler({
            velocity: (noisy, angle) => predict(noisy, angle, row, scale), noise: Float32Array.from(noise), steps, order,
          });
          while (!sampler.done) sampler.advance();
          return [...sampler.state];
        }""",
        [noise.ravel().tolist(), steps, order, scale],
    )
    assert np.abs(np.array(found) - expected.ravel()).max() < 1e-3


def test_the_ddpm_sampler_matches_the_library_for_the_same_new_noise(core):
    """With a velocity that is known in closed form, and the random numbers of Python."""
    steps, size = 5, 12
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((1, 3, 4, 1)).astype(np.float32)

    def velocity(noisy, angle):
        return np.cos(angle) * noisy - np.sin(angle) * 0.25

    state = rng.bit_generator.state
    expected = sampler.reverse_diffusion(velocity, noise, rng=rng, steps=steps, eta=1.0)
    rng.bit_generator.state = state
    new = rng.standard_normal((steps, size))
    found = core.evaluate(
        """([noise, steps, numbers]) => {
          let next = 0;
          const velocity = (noisy, angle) => noisy.map(value => Math.cos(angle) * value - Math.sin(angle) * 0.25);
          const sampler = imggenLive.sampler({
            velocity, noise: Float32Array.from(noise), steps, eta: 1, random: () => numbers[next++],
          });
          while (!sampler.done) sampler.advance();
          return [...sampler.state];
        }""",
        [noise.ravel().tolist(), steps, new.ravel().tolist()],
    )
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-5)
    assert np.abs(expected - 0.25).max() > 0.01


SAMPLE_TOKENS = """([row, scale, temperature, uniform, given, open]) => {
  const networks = [0, 1].map(() => imggenLive.network(...described("emoji_tokens")));
  let next = 0;
  const sampler = imggenLive.tokens({
    networks, condition: Float32Array.from(row), scale, temperature, given, open, uniform: () => uniform[next++],
  });
  while (!sampler.done) sampler.advance();
  const stepwise = networks[0].value("predictor").data.slice();
  networks[0].run({tokens: sampler.tokens, condition: row});
  const whole = networks[0].value("predictor").data;
  const difference = whole.reduce((most, value, i) => Math.max(most, Math.abs(value - stepwise[i])), 0);
  return {tokens: [...sampler.tokens], difference};
}"""


@pytest.mark.parametrize(("scale", "temperature"), [(1, 1), (2.5, 0.8), (0, 0)])
def test_tokens_match_the_library_for_the_same_uniform_numbers(core, token_model, scale, temperature):
    row, count = caption_row(), np.prod(token_model.token_shape)
    options = {"guidance_scale": scale, "temperature": temperature}
    expected = token_model.sample_tokens(1, seed=4, labels=row, **options).ravel()
    uniform = np.random.default_rng(4).random((1, count))
    given, positions = np.zeros(count, int).tolist(), list(range(count))
    found = core.evaluate(
        SAMPLE_TOKENS, [*map(np.ndarray.tolist, row), scale, temperature, *uniform.tolist(), given, positions]
    )
    assert found["tokens"] == expected.tolist()
    # With and without kept keys and values, the logits are the same.
    assert found["difference"] < 1e-4


def test_repainted_tokens_are_sampled_given_the_tokens_before_them(core, token_model):
    rng, row = np.random.default_rng(5), caption_row()
    given = rng.integers(token_model.num_codes, size=token_model.token_shape)
    rows, columns = np.mgrid[2:5, 3:6]
    positions = np.ravel_multi_index((rows.ravel(), columns.ravel()), given.shape)
    uniform, expected = rng.random(len(positions)), given.copy()
    for position, number in zip(positions, uniform, strict=True):
        logits = token_model.logits(expected[np.newaxis], labels=row, guidance_scale=2).reshape(-1, token_model.num_codes)
        expected.flat[position] = choose_tokens(logits[position], number)
    found = core.evaluate(
        SAMPLE_TOKENS, [row[0].tolist(), 2, 1, uniform.tolist(), given.ravel().tolist(), positions.tolist()]
    )
    assert found["tokens"] == expected.ravel().tolist()
    assert (expected != given).sum() > 3


DECODE = """([name, inputs]) => {
  const network = net(name), [input] = Object.keys(network.inputs);
  return inputs.map(one => [...network.run({[input]: one})]);
}"""
GENERATE = """async ([row, noise, steps, method, scale]) => {
  const predict = imggenLive.guided(net("emoji_diffusion")), condition = Float32Array.from(row);
  const sampler = imggenLive.flow({
    velocity: (noisy, time) => predict(noisy, time * Math.PI / 2, condition, scale),
    noise: Float32Array.from(noise), steps, method,
  });
  while (!sampler.done) await sampler.advance();
  const {mean, std} = imggenLive.weights("emoji_diffusion").record.latent, decoder = net("emoji_diffusion/decoder");
  const latent = sampler.state.map((value, i) => value * std[i % mean.length] + mean[i % mean.length]);
  return [...decoder.run({[Object.keys(decoder.inputs)[0]]: latent})];
}"""


def generated(model, noise, row, **options):
    """The image of a noise."""

    def velocity(noisy, time):
        return model.predict_velocity(noisy, time, labels=row, guidance_scale=options["guidance_scale"])

    latent = rectified_flow.follow_velocity(velocity, noise, steps=options["steps"], method=options["method"])
    return model.to_images(latent)[0]


@pytest.mark.parametrize(("steps", "method", "scale"), [(1, "heun", 0), (3, "euler", 1), (4, "heun", 2.5)])
def test_images_of_the_rectified_flow_match_the_library_for_the_same_noise(core, flow_model, steps, method, scale):
    row, shape = caption_row(), flow_model.autoencoder.latent_shape
    noise = np.random.default_rng(6).standard_normal((1, *shape)).astype(np.float32)
    expected = generated(flow_model, noise, row, steps=steps, method=method, guidance_scale=scale)
    found = core.evaluate(GENERATE, [row[0].tolist(), noise.ravel().tolist(), steps, method, scale])
    assert np.abs(np.array(found) - expected.ravel()).max() < 1e-3


def test_bytes_instead_of_half_precision_change_images_and_probabilities_little(flow_model, token_model):
    captions, images = composed_emoji.sample(4, rng=0)
    rows = caption_row(captions)
    shipped = pretrained.load("emoji_diffusion")
    for row, noise in zip(
        rows, np.random.default_rng(7).standard_normal((4, 1, *shipped.autoencoder.latent_shape)), strict=True
    ):
        pair = [
            generated(model, noise, row[np.newaxis], steps=5, method="heun", guidance_scale=2)
            for model in (shipped, flow_model)
        ]
        assert np.sqrt(np.mean((pair[0] - pair[1]) ** 2)) < 0.05
    shipped = pretrained.load("emoji_tokens")
    tokens = shipped.autoencoder.encode(images)
    exact, sent = (
        keras.ops.convert_to_numpy(keras.ops.log_softmax(model.logits(tokens, labels=rows), axis=-1))
        for model in (shipped, token_model)
    )
    # The Kullback-Leibler divergence of the next token, in nats.
    assert np.mean(np.sum(np.exp(exact) * (exact - sent), axis=-1)) < 0.01


WORDS = ("appel", "octopusses", "bleu", "strawbery", "xyz", "é", "automobile", "tuw", "noto2", "unicorns")
CAPTIONS = (
    "a red apple",
    "Two BLUE octopuses; left of: a car!",
    "noto style",
    "an old_man above a pink skull, twemoji style",
    "appel red",
)


def test_captions_are_encoded_as_in_the_library(core):
    for word in WORDS:
        assert core.evaluate("word => captions.nearest(word)", word) == emoji.nearest(word, composed_emoji.VOCABULARY)
    for caption in CAPTIONS:
        found = core.evaluate(
            "text => { const {row, unknown} = captions.encode(text); return {row: [...row], unknown}; }", caption
        )
        if found["unknown"]:
            with pytest.warns(UserWarning, match=f"'{found['unknown'][0]['word']}' is unknown and is left out") as warned:
                expected = captioned_emoji.encode(caption)
            assert [one["word"] for one in found["unknown"]] == [str(one.message).split("'")[1] for one in warned]
        else:
            expected = captioned_emoji.encode(caption)
        assert found["row"] == expected[0].tolist()
    assert core.evaluate("captions.encode(' 1 / _ ').words") == []
    too_long = "text => { try { captions.encode(text); } catch (error) { return error.message; } }"
    assert "17 words. Write at most 16" in core.evaluate(too_long, "apple " * 17)


def test_random_numbers_are_normal_and_repeat(core):
    sample = "seed => [...imggenLive.random(seed).normals(20001)]"
    numbers, again, others = (np.array(core.evaluate(sample, seed)) for seed in (1, 1, 2))
    assert np.array_equal(numbers, again)
    assert abs(np.corrcoef(numbers, others)[0, 1]) < 0.03
    assert abs(numbers.mean()) < 0.03 and abs(numbers.std() - 1) < 0.02


# --- Behaviour ---


def status(tab):
    return tab.inner_text(".live-status")


def canvas(tab, index=0):
    """The bytes of a canvas, to see whether it has changed."""
    return tab.locator("canvas").nth(index).evaluate("c => c.toDataURL()")


def wait_for_change(tab, before, index=0):
    tab.wait_for_function("([b, i]) => document.querySelectorAll('canvas')[i].toDataURL() !== b", arg=[before, index])


@pytest.mark.parametrize("name", FIGURES)
def test_figure_shows_its_image_until_it_starts_and_after_it_stops(open_figure, name):
    tab = open_figure(name)
    assert not tab.is_visible(".live-still") and not tab.is_visible(".live-start")
    tab.get_by_role("button", name="Stop", exact=True).click()
    assert tab.locator("canvas").count() == 0
    assert tab.is_visible(".live-still") and status(tab) == ""
    assert tab.evaluate("document.activeElement.className") == "live-start"
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".live-end")
    assert tab.errors == []


@pytest.mark.parametrize("name", live_images.figures())
def test_no_script_is_loaded_before_the_start_and_the_page_is_complete_without_scripts(chromium, live_folder, name):
    address = live_images.page(live_folder, name)
    for scripts in (True, False):
        context = chromium.new_context(java_script_enabled=scripts)
        tab = context.new_page()
        asked = []
        tab.on("request", lambda request, asked=asked: asked.append(request.url.rpartition("/")[2]))
        tab.goto(address)
        assert tab.is_visible(".live-still") and tab.is_visible("figcaption")
        assert tab.is_visible(".live-start") is scripts
        assert [file for file in asked if file.endswith(".js")] == ["start.js"] * scripts
        context.close()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_figure_has_no_accessibility_violation_and_fits_the_screen(open_figure, name, width, theme):
    tab = open_figure(name, width=width)
    tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    if name in ("diffusion", "tokens", "emoji"):
        finish(tab)
    violations = Axe().run(tab, options=LEVELS).response["violations"]
    assert [(one["id"], one["nodes"][0]["target"]) for one in violations] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_gan_responds_to_every_control(open_figure):
    tab = open_figure("gan")
    labels = [f"Direction {number}" for number in range(1, 5)]
    for label in ["First vector: seed", "From the first to the second", *labels, "Times"]:
        before = canvas(tab)
        tab.get_by_label(label, exact=True).focus()
        tab.keyboard.press("End")
        wait_for_change(tab, before)
    for label in ("Subtract", "Add"):
        before = canvas(tab)
        tab.get_by_label(label, exact=True).select_option("trouser")
        wait_for_change(tab, before)
    before = canvas(tab)
    tab.get_by_role("button", name="New sample").click()
    wait_for_change(tab, before)
    before = canvas(tab)
    tab.get_by_role("button", name="Back to the first vector").click()
    wait_for_change(tab, before)
    tab.locator("canvas").nth(2).click(position={"x": 5 * 56 + 3, "y": 20})
    assert tab.get_by_label("From the first to the second", exact=True).input_value() == "0.63"
    before = canvas(tab)
    tab.get_by_label("Add", exact=True).select_option("bag")
    wait_for_change(tab, before)
    assert tab.get_by_label("Times", exact=True).input_value() == "1"
    assert re.match(r"Classifier: [\w -]+, \d+ %\. Length of the latent vector: \d", status(tab))
    assert tab.errors == []


def test_the_ends_of_the_interpolation_are_the_two_vectors(open_figure):
    tab = open_figure("gan", "first=7&second=8&t=1")
    at_end = canvas(tab)
    tab.get_by_label("First vector: seed", exact=True).fill("8")
    tab.get_by_label("From the first to the second", exact=True).fill("0")
    tab.wait_for_function("b => document.querySelector('canvas').toDataURL() === b", arg=at_end)


def test_the_map_follows_mouse_finger_and_keys(open_figure):
    tab = open_figure("vae_map", width=390)
    plane = tab.locator("canvas").first
    box = plane.bounding_box()
    plane.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert status(tab).startswith("Code (0.00, 0.00)")
    tab.mouse.move(box["x"] + 5, box["y"] + 5)
    assert status(tab).startswith("Code (0.00, 0.00)")
    tab.touchscreen.tap(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    assert status(tab).startswith("Code (−1.50, 1.50)")
    before = canvas(tab, 1)
    plane.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    assert status(tab).startswith("Code (−1.40, 1.40)")
    assert canvas(tab, 1) != before
    tab.get_by_label("First latent dimension", exact=True).fill("2")
    assert status(tab).startswith("Code (2.00, 1.40)")
    before = canvas(tab)
    tab.get_by_label("Show on the map").select_option("images")
    wait_for_change(tab, before)
    assert not tab.is_visible(".live-legend")
    assert tab.errors == []


def swipe(tab, place, across, down):
    """Move a finger from a place of the screen; return how far the page has scrolled."""
    session = tab.context.new_cdp_session(tab)
    before = tab.evaluate("scrollY")

    def send(kind, *points):
        touches = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    send("touchStart", place)
    for k in range(1, 11):
        send("touchMove", (place[0] + across * k / 10, place[1] + down * k / 10))
    send("touchEnd")
    tab.wait_for_timeout(500)
    session.detach()
    return tab.evaluate("scrollY") - before


def test_a_finger_scrolls_the_page_over_the_map_and_drags_the_cross(open_figure):
    tab = open_figure("vae_map", "x=0&y=0", width=390)
    tab.set_viewport_size({"width": 390, "height": 500})

    def over_the_map(x, y, *movement):
        tab.evaluate("scrollTo(0, 0)")
        box = tab.locator("canvas").first.bounding_box()
        return swipe(tab, (box["x"] + x * box["width"], box["y"] + y * box["height"]), *movement)

    code = "Code (0.00, 0.00)"
    assert over_the_map(0.2, 0.9, 3, -100) > 30
    assert status(tab).startswith(code)
    for movement in [(0.5, 0.5, 0, -60), (0.2, 0.9, 80, -40)]:
        assert over_the_map(*movement) == 0
        assert not status(tab).startswith(code)
        code = status(tab)
    assert tab.errors == []


def test_a_slider_keeps_its_value_when_the_finger_on_it_scrolls_the_page(open_figure):
    tab = open_figure("gan", width=390)
    tab.set_viewport_size({"width": 390, "height": 500})
    slider = tab.get_by_label("First vector: seed", exact=True)
    slider.scroll_into_view_if_needed()
    box, before = slider.bounding_box(), canvas(tab)
    right = (box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert swipe(tab, right, 3, -100) > 30
    assert slider.input_value() == "3"
    assert canvas(tab) == before
    box = slider.bounding_box()
    assert swipe(tab, (box["x"] + 0.4 * box["width"], box["y"] + box["height"] / 2), 60, 5) == 0
    assert int(slider.input_value()) > 40
    wait_for_change(tab, before)


@pytest.mark.parametrize("name", live_images.figures())
def test_the_keyboard_continues_in_a_figure_that_it_has_started(open_figure, name):
    tab = open_figure(name)
    tab.get_by_role("button", name="Stop", exact=True).click()
    for button in ("live-start", "Reset all settings"):
        if button == "live-start":
            tab.keyboard.press("Enter")
        else:
            tab.get_by_role("button", name=button).press("Enter")
        tab.wait_for_selector(".live-end")
        tab.wait_for_function("document.activeElement.className === 'live-root'")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.querySelector('.live-root').contains(document.activeElement)")
    assert tab.errors == []


def test_reset_restores_the_first_settings_also_after_a_link(open_figure):
    first = canvas(open_figure("gan"))
    tab = open_figure("gan", "first=7&d2=4")
    assert canvas(tab) != first
    tab.get_by_role("button", name="Reset all settings").click()
    tab.wait_for_function("b => document.querySelector('canvas')?.toDataURL() === b", arg=first)
    assert tab.get_by_label("First vector: seed", exact=True).input_value() == "3"


def finish(tab):
    tab.wait_for_function("document.querySelector('.live-status').textContent.includes('complete')", timeout=60_000)


def test_diffusion_steps_pauses_and_depends_on_its_settings(open_figure):
    tab = open_figure("diffusion", "steps=3&class=1&seed=4&guidance=1")
    finish(tab)
    trouser = canvas(tab, 2)
    assert tab.get_by_role("button", name="One step").is_disabled()
    tab.get_by_role("button", name="Back to the noise").click()
    assert status(tab).startswith("Noise, at the angle of 90°.")
    for number in (1, 2, 3):
        tab.get_by_role("button", name="One step").click()
        assert status(tab).startswith(f"Step {number} of 3")
    assert canvas(tab, 2) == trouser
    results = {trouser}
    for label, value in [("Class", "bag"), ("Class", "no class"), ("Kind", "ddpm")]:
        tab.get_by_label(label, exact=True).select_option(value)
        finish(tab)
        assert canvas(tab, 2) not in results
        results.add(canvas(tab, 2))
        assert tab.get_by_label("Guidance scale", exact=True).is_disabled() is (value == "no class" or label == "Kind")
    tab.get_by_label("Steps", exact=True).fill("30")
    tab.wait_for_function("document.querySelector('.live-title').textContent.endsWith('84°')", timeout=60_000)
    tab.get_by_role("button", name="Pause").click()
    assert re.match(r"Paused after step \d+ of 30\.", status(tab))
    shown = canvas(tab)
    tab.wait_for_timeout(1000)
    assert canvas(tab) == shown
    assert tab.errors == []


def warning(tab):
    return tab.inner_text(".live-warning")


BITS = """() => {
  const {data} = document.querySelectorAll("canvas")[1].getContext("2d").getImageData(0, 0, 8, 8);
  return [...data].filter((_, i) => i % 4 === 0);
}"""


def test_marked_tokens_are_repainted_and_the_others_are_kept(open_figure):
    tab = open_figure("tokens", "guidance=1&caption=a+cat")
    finish(tab)
    tab.get_by_role("button", name="Repaint the marked tokens").click()
    assert status(tab).startswith("No token is marked.")
    before, box = np.array(tab.evaluate(BITS)), tab.locator("canvas").first.bounding_box()
    step = box["width"] / 8
    tab.mouse.move(box["x"] + 2.5 * step, box["y"] + 1.5 * step)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 5.5 * step, box["y"] + 1.5 * step, steps=12)
    tab.mouse.up()
    assert status(tab).startswith("4 of 64 tokens are marked.")
    tab.locator("canvas").first.focus()
    for key in (" ", "ArrowDown", " "):
        tab.keyboard.press(key)
    assert status(tab) == "Row 3, column 6: marked. 4 marked."
    changed = np.zeros(64, bool)
    for _ in range(3):
        tab.get_by_role("button", name="Repaint the marked tokens").click()
        finish(tab)
        assert status(tab).startswith("4 of 64 tokens sampled")
        changed |= np.array(tab.evaluate(BITS)) != before
    assert set(np.flatnonzero(changed)) <= {10, 11, 12, 21} and changed.any()
    # A setting that changes during a repainting starts it again; the other tokens are kept, also if the caption is refused.
    kept = np.setdiff1d(np.arange(64), [10, 11, 12, 21])
    tab.get_by_label("Seed", exact=True).evaluate(
        """seed => {
          [...document.querySelectorAll("button")].find(button => button.textContent.startsWith("Repaint")).click();
          seed.value = 2;
          seed.dispatchEvent(new Event("input"));
        }"""
    )
    finish(tab)
    assert status(tab).startswith("4 of 64 tokens sampled")
    field, shown = tab.get_by_label("Caption", exact=True), canvas(tab)
    field.fill("qqq")
    field.press("Enter")
    tab.get_by_role("button", name="Repaint the marked tokens").click()
    assert status(tab) == "The caption cannot be used."
    assert canvas(tab) == shown
    assert np.array_equal(np.array(tab.evaluate(BITS))[kept], before[kept])
    field.fill("a cat")
    field.press("Enter")
    # With marks, another caption only prepares the next repainting.
    shown = canvas(tab)
    tab.get_by_label("Caption", exact=True).fill("a dog")
    tab.keyboard.press("Enter")
    assert status(tab).startswith("Repaint the marked tokens with these settings")
    tab.get_by_role("button", name="Clear the marks").click()
    assert status(tab) == "No token is marked." and canvas(tab) != shown
    tab.get_by_role("button", name="Generate").click()
    tab.get_by_role("button", name="Pause").click()
    assert re.fullmatch(r"Paused after \d+ of 64 tokens\.", status(tab))
    tab.get_by_role("button", name="Continue").click()
    finish(tab)
    assert status(tab).startswith("64 of 64 tokens sampled")
    assert tab.errors == []


def test_a_finger_marks_tokens(open_figure):
    tab = open_figure("tokens", "guidance=1", width=390)
    finish(tab)
    box = tab.locator("canvas").first.bounding_box()
    tab.touchscreen.tap(box["x"] + box["width"] / 16, box["y"] + box["height"] / 16)
    assert status(tab).startswith("1 of 64 tokens are marked.")
    tab.get_by_role("button", name="Link to these settings").click()
    assert tab.url.endswith("marks=1000000000000000")
    assert tab.errors == []


def test_a_finger_scrolls_the_page_over_the_tokens_and_marks_sideways(open_figure):
    tab = open_figure("tokens", "guidance=1", width=390)
    # Later, the message about the complete image would replace that about the marks.
    finish(tab)
    tab.set_viewport_size({"width": 390, "height": 500})
    found = []
    for across, down in ((0, -100), (100, 0)):
        tab.evaluate("scrollTo(0, 0)")
        box = tab.locator("canvas").first.bounding_box()
        scrolled = swipe(tab, (box["x"] + box["width"] / 16, box["y"] + 0.8 * box["height"]), across, down)
        found.append((scrolled > 30, "tokens are marked" in status(tab)))
    assert found == [(True, False), (False, True)]
    assert tab.errors == []


def test_temperature_zero_gives_the_same_image_for_each_seed(open_figure):
    tab = open_figure("tokens", "guidance=1&temperature=0&seed=1")
    finish(tab)
    shown = canvas(tab)
    for label, value in (("Seed", "2"), ("Temperature", "1")):
        tab.get_by_label(label, exact=True).fill(value)
        tab.wait_for_function("document.querySelector('.live-status').textContent.startsWith('Sampling 64')")
        finish(tab)
        assert (canvas(tab) == shown) is (label == "Seed")


@pytest.mark.parametrize("name", ["tokens", "emoji"])
def test_unknown_words_are_named_and_a_caption_without_known_words_is_refused(open_figure, name):
    tab = open_figure(name, "caption=a+red+appel&steps=1&method=euler&guidance=1")
    near = emoji.nearest("appel", composed_emoji.VOCABULARY)
    assert warning(tab) == (
        "The word “appel” is unknown and is left out; the nearest known words are "
        + ", ".join(f"“{word}”" for word in near)
        + "."
    )
    finish(tab)
    field = tab.get_by_label("Caption", exact=True)
    for caption, message in [
        ("qqq", "The caption has no known word. Write one such as “two blue octopuses”."),
        ("", "The caption has no known word. Write one such as “two blue octopuses”."),
        ("apple " * 15, "The caption has 17 words. Write at most 16, with those of the style."),
    ]:
        tab.get_by_label("Style").select_option("noto" if len(caption) > 9 else "not stated")
        field.fill(caption)
        tab.keyboard.press("Enter")
        tab.wait_for_function("text => document.querySelector('.live-warning').textContent === text", arg=message)
        tab.wait_for_function("document.querySelector('.live-status').textContent === 'The caption cannot be used.'")
    field.fill("a red apple")
    tab.get_by_label("Style").select_option("not stated")
    finish(tab)
    assert warning(tab) == ""
    assert tab.errors == []


def test_emoji_pauses_and_depends_on_caption_style_and_seed(open_figure):
    tab = open_figure("emoji", "steps=2&method=euler&guidance=1&caption=a+red+apple")
    finish(tab)
    assert re.match(r"“a red apple”: 2 steps, 2 evaluations of the network of \d+ ms, [\d.]+ s in all\.", status(tab))
    images = {canvas(tab)}
    tab.get_by_label("Style").select_option("noto")
    tab.wait_for_function("document.querySelector('.live-status').textContent.includes('apple, noto style')")
    images.add(canvas(tab))
    tab.get_by_label("Caption", exact=True).fill("a blue car")
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('.live-status').textContent.includes('a blue car, noto style')")
    images.add(canvas(tab))
    tab.get_by_role("button", name="Next seed").click()
    finish(tab)
    images.add(canvas(tab))
    assert len(images) == 4
    earlier = tab.locator("fieldset ol li").all_inner_texts()
    captions = ("a blue car, noto style", "a red apple, noto style", "a red apple")
    assert earlier == [f"“{caption}”, guidance scale 1.0, steps: 2 (Euler), seed 1" for caption in captions]
    # Long enough for the clicks below: two velocities in each step but the last, of two evaluations each.
    tab.get_by_label("Method", exact=True).select_option("heun")
    tab.get_by_label("Guidance scale", exact=True).fill("2")
    tab.get_by_label("Steps", exact=True).fill("30")
    tab.wait_for_function("document.querySelector('.live-title').textContent.startsWith('Step ')")
    for _ in range(2):
        tab.get_by_role("button", name="Pause").click()
        tab.get_by_role("button", name="Continue").click()
    tab.get_by_role("button", name="Pause").click()
    assert re.fullmatch(r"Paused in step \d+ of 30\.", status(tab))
    tab.wait_for_timeout(1000)
    shown = canvas(tab)
    tab.wait_for_timeout(1000)
    assert canvas(tab) == shown
    tab.get_by_role("button", name="Continue").click()
    assert status(tab).startswith("Generating")
    finish(tab)
    assert status(tab).startswith("“a blue car, noto style”: 30 steps, 118 evaluations")
    assert tab.errors == []


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gan", "first=5&d2=1.5&to=1&strength=0.4"),
        ("vae_map", "x=1.25&y=-0.5&show=codes"),
        ("diffusion", "steps=2&class=none"),
        ("tokens", "caption=a+cat%2C+noto+style&temperature=0.5&guidance=1&seed=7&marks=f00000000000000f"),
        ("emoji", "caption=two+bl%C3%BCe+cats&style=twemoji&guidance=1&steps=1&method=euler&seed=2"),
    ],
)
def test_a_link_restores_the_settings(open_figure, name, settings):
    tab = open_figure(name, settings)
    if name in ("tokens", "emoji"):
        finish(tab)
    tab.get_by_role("button", name="Link to these settings").click()
    assert "The link is in the address bar" in tab.inner_text(".live-end .live-message")
    stored = dict(part.split("=") for part in tab.url.split(f"#live-{name}:")[1].split("&"))
    assert stored.items() >= dict(part.split("=") for part in settings.split("&")).items()
    shown = canvas(tab)
    if name != "diffusion":
        again = open_figure(name, tab.url.split(":")[-1])
        if name in ("tokens", "emoji"):
            finish(again)
        assert canvas(again) == shown


@pytest.mark.parametrize("name", FIGURES)
def test_a_damaged_link_gives_values_in_the_range(open_figure, name):
    damaged = "first=x&t=7&to=hat&x=1e9&show=no&steps=-3&class=77&guidance=NaN&caption=&style=x&marks=zz&method=no&%E0%A4%A"
    tab = open_figure(name, damaged)
    ranges = tab.eval_on_selector_all("input[type=range]", "all => all.map(i => [+i.min, +i.value, +i.max])")
    assert all(low <= value <= high for low, value, high in ranges)
    assert tab.eval_on_selector_all("select", "all => all.every(s => s.value)")
    assert tab.errors == []


def test_a_missing_script_is_reported_and_can_be_tried_again(chromium, live_folder):
    context = chromium.new_context()
    tab = context.new_page()
    tab.route("**/vae_2d.js", lambda route: route.abort())
    tab.goto(live_images.page(live_folder, "vae_map"))
    tab.click(".live-start")
    tab.wait_for_function("document.querySelector('.live-status').textContent.includes('vae_2d.js could not be loaded')")
    assert tab.is_visible(".live-still")
    tab.unroute("**/vae_2d.js")
    tab.click(".live-start")
    tab.wait_for_selector(".live-end")
    context.close()


@pytest.mark.parametrize("name", FIGURES)
def test_memory_does_not_grow_with_repetitions(open_figure, name):
    tab = open_figure(name, {"tokens": "marks=8", "emoji": "steps=1&method=euler&guidance=1"}.get(name, "first=1&steps=1"))
    session = tab.context.new_cdp_session(tab)
    change = {
        "gan": "input('Direction 1', k % 60 / 10)",
        "vae_map": "input('First latent dimension', k % 60 / 20)",
        "diffusion": "press('Back to the noise'); press('One step')",
        "tokens": "press('Repaint the marked tokens'); await complete()",
        "emoji": "press('Next seed'); await complete()",
    }[name]
    early, late, sizes, limit = 30, 200, ("usedSize",), 500_000
    if name in ("tokens", "emoji"):
        finish(tab)
        # Fewer repetitions are enough: a colour image kept in each of them would be 2 MB of array buffers.
        early, late, sizes, limit = 10, 40, ("usedSize", "backingStorageSize"), 1_000_000

    def used_after(repetitions):
        tab.evaluate(
            f"""async () => {{
              const input = (name, value) => {{
                const label = [...document.querySelectorAll('label')].find(l => l.textContent === name);
                const control = document.getElementById(label.htmlFor);
                control.value = value;
                control.dispatchEvent(new Event('input'));
              }};
              const press = name => [...document.querySelectorAll('button')].find(b => b.textContent === name).click();
              const running = () => [...document.querySelectorAll('button')].some(b => b.textContent === 'Pause');
              const complete = async () => {{ while (running()) await new Promise(done => setTimeout(done, 20)); }};
              for (let k = 0; k < {repetitions}; k++) {{
                {change};
                await new Promise(requestAnimationFrame);
              }}
              await new Promise(done => setTimeout(done, 500));
            }}"""
        )
        session.send("HeapProfiler.collectGarbage")
        usage = session.send("Runtime.getHeapUsage")
        return sum(usage[size] for size in sizes)

    first, last = used_after(early), used_after(late)
    assert last - first < limit
    assert tab.errors == []


def test_restarting_does_not_keep_the_networks_of_earlier_starts(open_figure):
    tab = open_figure("gan")
    session = tab.context.new_cdp_session(tab)

    def used_after(starts):
        for _ in range(starts):
            tab.get_by_role("button", name="Stop", exact=True).click()
            tab.click(".live-start")
            # wait_for_selector would return a handle, which would keep the element in memory.
            tab.locator(".live-end").wait_for()
        tab.wait_for_timeout(500)
        session.send("HeapProfiler.collectGarbage")
        usage = session.send("Runtime.getHeapUsage")
        return usage["usedSize"] + usage.get("backingStorageSize", 0)

    first, last = used_after(3), used_after(10)
    assert last - first < 1_000_000


@pytest.mark.parametrize("name", live_images.figures())
def test_figure_starts_in_the_built_book_opened_from_disk(chromium, address, name):
    """With the address, the test is skipped if the book is not built."""
    context = chromium.new_context()
    tab = context.new_page()
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((HTML / "chapters" / "start" / "playground.html").as_uri())
    tab.click(f"#live-{name} .live-start")
    tab.locator(f"#live-{name} .live-end").wait_for()
    assert tab.locator(f"#live-{name} canvas").first.is_visible()
    context.close()
    assert errors == []


def test_scripts_of_models_are_small_enough_to_load(live_folder):
    sizes = {file.stem: file.stat().st_size for file in (live_folder / "_static" / "live" / "weights").iterdir()}
    assert max(sizes.values()) < 5_000_000, json.dumps(sizes)
