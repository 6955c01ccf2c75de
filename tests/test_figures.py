import base64
import io
import re

import bs4
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from imggen_lib.notebook import figures


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    plt.close("all")
    yield
    plt.close("all")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_contact_sheet_holds_each_picture_in_reading_order(channels):
    images = np.zeros((5, 4, 6, channels)) + np.linspace(0, 0.8, 5).reshape(-1, 1, 1, 1)
    sheet = figures.contact_sheet(images, columns=3, gap=1)
    assert sheet.shape[:2] == (2 * (4 + 1) + 1, 3 * (6 + 1) + 1)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        top, left = 1 + row * 5, 1 + column * 7
        region = sheet[top : top + 4, left : left + 6]
        np.testing.assert_allclose(region.reshape(image.shape), image)
    # The gaps, and the place that has no picture, are white.
    assert (sheet[0] == 1).all() and (sheet[5] == 1).all() and (sheet[6:10, 15:] == 1).all()


def test_a_contact_sheet_is_no_wider_than_its_pictures():
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
def test_a_contact_sheet_refuses_what_are_no_pictures(images, error):
    with pytest.raises(error):
        figures.contact_sheet(images)


def test_show_images_shows_each_picture_with_its_title_on_one_scale():
    images = [np.full((4, 4), 0.25), np.full((6, 3, 3), 0.5), np.full((5, 5, 1), 0.75)]
    figure = figures.show_images(images, columns=2, titles=["a", "b", "c"])
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c"]
    for axis, image in zip(figure.axes, images, strict=True):
        shown = axis.images[0]
        np.testing.assert_array_equal(np.asarray(shown.get_array()).reshape(image.shape), image)
        assert shown.get_clim() == (0, 1)


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_pictures_of_one_size_without_titles_are_shown_as_one_sheet(rng, channels):
    images = rng.uniform(size=(5, 6, 8, *channels))
    (axis,) = figures.show_images(images, columns=3, scale=0.8).axes
    sheet, (shown,) = np.asarray(axis.images[0].get_array()), channels or (1,)
    np.testing.assert_array_equal(sheet[8:14, 10:18].reshape(6, 8, shown), images[4].reshape(6, 8, shown))
    assert sheet.shape[:2] == (1 + 2 * 7, 1 + 3 * 9) and axis.images[0].get_clim() == (0, 1)
    np.testing.assert_allclose(axis.figure.get_size_inches(), (28 * 0.8 / 9, 15 * 0.8 / 9))


def test_show_images_shows_a_picture_of_one_row():
    figure = figures.show_images(np.zeros((1, 1, 5, 1)))
    assert figure.axes[0].images[0].get_array().shape == (1, 5)


def test_show_images_names_what_is_wrong():
    with pytest.raises(ValueError, match="2 titles for 3 images"):
        figures.show_images(np.zeros((3, 4, 4, 1)), titles=["a", "b"])
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        figures.show_images([np.full((4, 4), -0.5)])
    with pytest.raises(ValueError):
        figures.show_images([])


def test_show_curves_plots_the_numbers_over_epochs_from_one():
    figure = figures.show_curves({"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]}, ylabel="nats")
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == ["loss", "val loss"]
    np.testing.assert_array_equal(axis.lines[1].get_xydata(), [[1, 4], [2, 3]])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "nats")
    only = figures.show_curves({"loss": [3.0], "val_loss": [4.0]}, names=["val_loss"])
    assert len(only.axes[0].lines) == 1


def test_show_curves_takes_what_fit_returns_and_names_a_missing_curve():
    class History:
        history = {"loss": [1.0]}  # noqa: RUF012

    assert figures.show_curves(History()).axes[0].lines[0].get_ydata() == [1.0]
    with pytest.raises(ValueError, match="curve is 'accuracy'; expected one of loss"):
        figures.show_curves(History(), names=["accuracy"])


def test_a_latent_map_has_the_first_code_to_the_right_and_the_second_upwards():
    def decode(codes):
        """The first code as red, the second as green."""
        shades = np.zeros((len(codes), 2, 2, 3))
        shades[..., :2] = ((codes + 2) / 4)[:, np.newaxis, np.newaxis]
        return shades

    picture = figures.latent_map(decode, cells=5, extent=2)
    assert picture.shape == (10, 10, 3)
    corners = {"top left": picture[0, 0], "top right": picture[0, -1], "bottom left": picture[-1, 0]}
    for corner, (red, green) in {"top left": (0, 1), "top right": (1, 1), "bottom left": (0, 0)}.items():
        np.testing.assert_allclose(corners[corner], [red, green, 0])
    np.testing.assert_allclose(picture[4:6, 4:6, :2], 0.5)


def test_the_style_is_the_one_that_is_set():
    with plt.rc_context():
        notebook.setup()
        assert plt.rcParams["image.cmap"] == "gray" and plt.rcParams["figure.dpi"] == 110


def test_glue_displays_its_value_where_the_book_looks_for_it(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: shown.append((data, options)))
    figures.glue("answer", "42")
    ((data, options),) = shown
    assert data == {"application/papermill.record/text/plain": "'42'"} and options["raw"]
    assert options["metadata"]["scrapbook"] == {"name": "answer", "mime_prefix": "application/papermill.record/"}


def test_glue_takes_text_alone():
    with pytest.raises(TypeError, match="value is 42; expected text"):
        figures.glue("answer", 42)


def test_a_film_holds_all_its_frames_and_stands_still_until_it_is_asked():
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
def test_a_film_refuses_what_makes_none(wrong):
    right = {"frames": np.zeros((2, 4, 4, 1)), "alt": "Dark", "caption": "Dark."}
    with pytest.raises(ValueError, match="expected"):
        animation.show_film(**{**right, **wrong})


def test_where_nobody_is_there_a_slider_draws_once_and_leaves_nothing(capsys):
    seen = []

    def draw(grey=0.25, size=4):
        seen.append(grey)
        return np.full((size, size), grey)

    widgets.interactive(draw, grey=(0.0, 1.0, 0.1), size=[4, 8])
    assert seen == [0.25] and plt.get_fignums() == [] and capsys.readouterr().out == ""


def test_in_a_live_notebook_each_name_has_a_slider_that_starts_at_its_default(monkeypatch):
    shown = []
    monkeypatch.setattr(plotting, "is_interactive", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    drawn = []

    def draw(grey=0.25, size=4):
        drawn.append((grey, size))
        return [np.full((size, size), grey)] * 2

    widgets.interactive(draw, grey=(0.0, 1.0, 0.05), size=[4, 8])
    grey, size, _ = shown[0].children
    assert (grey.min, grey.max, grey.step, grey.value, size.value) == (0, 1, 0.05, 0.25, 4)
    grey.value = 0.5
    assert drawn == [(0.25, 4), (0.5, 4)]


def test_a_kernel_that_pytest_started_for_a_page_has_nobody_before_it(monkeypatch):
    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    for test, there in (("page.ipynb:: (call)", False), ("test_lab.py (setup)", True), ("", True)):
        monkeypatch.setenv("PYTEST_CURRENT_TEST", test)
        assert profile.is_interactive() == there
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    assert not profile.is_interactive()


def test_interactive_names_a_slider_that_is_none():
    with pytest.raises(ValueError, match="slider is 'gray'; expected one of grey"):
        widgets.interactive(lambda grey=0.5: np.full((4, 4), grey), gray=(0.0, 1.0))
    with pytest.raises(ValueError, match="grey has no default in draw"):
        widgets.interactive(lambda grey: np.full((4, 4), grey), grey=(0.0, 1.0))
