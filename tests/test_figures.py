import base64
import io
import re

import bs4
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

from imggen_lib import notebook
from imggen_lib.notebook import animation, figures, profile, widgets


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@pytest.mark.parametrize("channels", [1, 3])
def test_contact_sheet_places_images_in_reading_order(channels):
    images = np.zeros((5, 4, 6, channels)) + np.linspace(0, 0.8, 5).reshape(-1, 1, 1, 1)
    sheet = figures.contact_sheet(images, columns=3, gap=1)
    assert sheet.shape[:2] == (2 * (4 + 1) + 1, 3 * (6 + 1) + 1)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        top, left = 1 + row * 5, 1 + column * 7
        region = sheet[top : top + 4, left : left + 6]
        np.testing.assert_allclose(region.reshape(image.shape), image)
    # The gaps and the empty place are white.
    assert (sheet[0] == 1).all() and (sheet[5] == 1).all() and (sheet[6:10, 15:] == 1).all()


def test_contact_sheet_has_no_empty_columns():
    assert figures.contact_sheet(np.zeros((2, 4, 4, 1)), columns=10, gap=0).shape == (4, 8)


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (np.zeros((2, 4, 4)), ValueError),
        (np.zeros((2, 4, 4, 2)), ValueError),
        (np.zeros((0, 4, 4, 1)), ValueError),
        (np.full((2, 4, 4, 1), 2.0), ValueError),
        (np.zeros((2, 4, 4, 1), "uint8"), TypeError),
    ],
)
def test_contact_sheet_refuses_invalid_images(images, error):
    with pytest.raises(error):
        figures.contact_sheet(images)


def test_show_images_gives_each_image_its_title_and_the_grey_scale_from_0_to_1():
    images = [np.full((4, 4), 0.25), np.full((6, 3, 3), 0.5), np.full((5, 5, 1), 0.75)]
    figure = figures.show_images(images, columns=2, titles=["a", "b", "c"])
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c"]
    for axis, image in zip(figure.axes, images, strict=True):
        shown = axis.images[0]
        np.testing.assert_array_equal(np.asarray(shown.get_array()).reshape(image.shape), image)
        assert shown.get_clim() == (0, 1)


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_images_of_one_size_without_titles_are_shown_in_one_axes(rng, channels):
    images = rng.uniform(size=(5, 6, 8, *channels))
    (axis,) = figures.show_images(images, columns=3, scale=0.8).axes
    sheet, (shown,) = np.asarray(axis.images[0].get_array()), channels or (1,)
    np.testing.assert_array_equal(sheet[8:14, 10:18].reshape(6, 8, shown), images[4].reshape(6, 8, shown))
    assert sheet.shape[:2] == (1 + 2 * 7, 1 + 3 * 9) and axis.images[0].get_clim() == (0, 1)
    np.testing.assert_allclose(axis.figure.get_size_inches(), (28 * 0.8 / 9, 15 * 0.8 / 9))


def test_show_images_accepts_an_image_of_one_row():
    figure = figures.show_images(np.zeros((1, 1, 5, 1)))
    assert figure.axes[0].images[0].get_array().shape == (1, 5)


def test_show_images_refuses_wrong_titles_values_and_no_images():
    with pytest.raises(ValueError, match="2 titles for 3 images"):
        figures.show_images(np.zeros((3, 4, 4, 1)), titles=["a", "b"])
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        figures.show_images([np.full((4, 4), -0.5)])
    with pytest.raises(ValueError, match="images is empty"):
        figures.show_images([])


def test_show_curves_numbers_epochs_from_one():
    figure = figures.show_curves({"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]}, ylabel="nats")
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == ["loss", "val loss"]
    np.testing.assert_array_equal(axis.lines[1].get_xydata(), [[1, 4], [2, 3]])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "nats")
    only = figures.show_curves({"loss": [3.0], "val_loss": [4.0]}, names=["val_loss"])
    assert len(only.axes[0].lines) == 1


def test_show_curves_accepts_a_history_object_and_refuses_an_unknown_name():
    class History:
        history = {"loss": [1.0]}  # noqa: RUF012

    assert figures.show_curves(History()).axes[0].lines[0].get_ydata() == [1.0]
    with pytest.raises(ValueError, match="curve is 'accuracy'; expected one of loss"):
        figures.show_curves(History(), names=["accuracy"])


def test_latent_map_has_the_first_coordinate_to_the_right_and_the_second_upwards():
    def decode(latent):
        """Show the first coordinate as red and the second as green."""
        shades = np.zeros((len(latent), 2, 2, 3))
        shades[..., :2] = ((latent + 2) / 4)[:, np.newaxis, np.newaxis]
        return shades

    image = figures.latent_map(decode, cells=5, extent=2)
    assert image.shape == (10, 10, 3)
    corners = {"top left": image[0, 0], "top right": image[0, -1], "bottom left": image[-1, 0]}
    for corner, (red, green) in {"top left": (0, 1), "top right": (1, 1), "bottom left": (0, 0)}.items():
        np.testing.assert_allclose(corners[corner], [red, green, 0])
    np.testing.assert_allclose(image[4:6, 4:6, :2], 0.5)


def test_setup_applies_the_style_of_the_book():
    with plt.rc_context():
        notebook.setup()
        assert plt.rcParams["image.cmap"] == "gray" and plt.rcParams["figure.dpi"] == 110


def test_native_messages_do_not_appear_on_a_page_but_python_warnings_do():
    code = (
        "import os, sys, warnings\nos.write(2, b'native')\nwarnings.warn('from Python')\nprint('printed', file=sys.stderr)"
    )
    cells = [
        nbformat.v4.new_code_cell("from imggen_lib import notebook\nnotebook.setup()"),
        nbformat.v4.new_code_cell(code),
    ]
    page = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(page, kernel_name="python3", timeout=120).execute()
    assert page.cells[0].outputs == []
    shown = "".join(output.text for output in page.cells[1].outputs if output.output_type == "stream")
    assert "native" not in shown
    assert "from Python" in shown and "printed" in shown


def test_a_film_contains_all_frames_and_starts_paused():
    frames = np.random.default_rng(0).random((5, 6, 8, 1))
    page = bs4.BeautifulSoup(animation.show_film(frames, alt='A "film"', caption="Noise < signal.").data, "html.parser")
    style = page.find(attrs={"role": "img"})["style"]
    strip = base64.b64decode(re.search("base64,([^)]*)", style)[1])
    np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(strip))).reshape(5, 6, 8, 1) / 255, frames, atol=0.003)
    assert page.find(attrs={"role": "img"})["aria-label"] == 'A "film"'
    assert page.figcaption.text == "Noise < signal."
    assert page.button["aria-label"] == "Play"
    assert page.input["max"] == "4"


@pytest.mark.parametrize(
    "wrong", [{"frames": np.zeros((1, 4, 4, 1))}, {"frames": np.zeros((4, 4, 1))}, {"alt": ""}, {"seconds": -1}]
)
def test_a_film_refuses_invalid_arguments(wrong):
    right = {"frames": np.zeros((2, 4, 4, 1)), "alt": "Dark", "caption": "Dark."}
    with pytest.raises(ValueError, match="expected"):
        animation.show_film(**{**right, **wrong})


def test_interactive_calls_the_function_once_outside_a_notebook(capsys):
    seen = []

    def square(grey=0.25, size=4):
        seen.append(grey)
        return np.full((size, size), grey)

    widgets.interactive(square, grey=(0.0, 1.0, 0.1), size=[4, 8])
    assert seen == [0.25] and plt.get_fignums() == [] and capsys.readouterr().out == ""


def test_interactive_shows_a_slider_for_each_parameter_in_a_live_notebook(monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "is_interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    calls = []

    def square(grey=0.25, size=4):
        calls.append((grey, size))
        return [np.full((size, size), grey)] * 2

    widgets.interactive(square, grey=(0.0, 1.0, 0.05), size=[4, 8])
    grey, size, _ = shown[0].children
    assert (grey.min, grey.max, grey.step, grey.value, size.value) == (0, 1, 0.05, 0.25, 4)
    grey.value = 0.5
    assert calls == [(0.25, 4), (0.5, 4)]


def test_a_kernel_that_executes_a_page_under_pytest_is_not_interactive(monkeypatch):
    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    for test, expected in (("page.ipynb:: (call)", False), ("test_lab.py (setup)", True), ("", True)):
        monkeypatch.setenv("PYTEST_CURRENT_TEST", test)
        assert profile.is_interactive() == expected
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    assert not profile.is_interactive()


def test_interactive_refuses_an_unknown_slider_and_a_parameter_without_default():
    with pytest.raises(ValueError, match="slider is 'gray'; expected one of grey"):
        widgets.interactive(lambda grey=0.5: np.full((4, 4), grey), gray=(0.0, 1.0))
    with pytest.raises(ValueError, match="the parameter grey has no default"):
        widgets.interactive(lambda grey: np.full((4, 4), grey), grey=(0.0, 1.0))


@pytest.mark.parametrize(("value", "name", "epochs"), [(None, "quick", 3), ("quick", "quick", 3), ("full", "full", 30)])
def test_the_profile_is_the_value_of_the_environment_variable(monkeypatch, value, name, epochs):
    if value:
        monkeypatch.setenv("IMGGEN_PROFILE", value)
    assert profile.current() == name
    assert profile.choose(quick=3, full=30) == epochs


def test_an_unknown_profile_is_refused(monkeypatch):
    monkeypatch.setenv("IMGGEN_PROFILE", "fast")
    with pytest.raises(ValueError, match="IMGGEN_PROFILE is 'fast'; expected one of quick, full"):
        profile.current()
