import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_lib import graphics

points = st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)), min_size=2, max_size=6)


def test_a_pen_at_the_wheels_centre_draws_a_circle():
    curve = graphics.spirograph(7, 3, 0)
    np.testing.assert_allclose(np.hypot(*curve.T), 1, atol=1e-12)


def test_a_wheel_of_half_the_ring_draws_a_diameter():
    """The Tusi couple: x = 2 r cos t, y = 0."""
    curve = graphics.spirograph(4, 2, 2)
    np.testing.assert_allclose(curve[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose([curve[:, 0].min(), curve[:, 0].max()], [-1, 1], atol=1e-5)


@given(st.integers(2, 60), st.integers(1, 59), st.floats(0, 100))
@settings(max_examples=50, deadline=None)
def test_a_spirograph_closes_and_stays_in_the_square(fixed, rolling, pen):
    rolling = 1 + rolling % (fixed - 1)
    curve = graphics.spirograph(fixed, rolling, pen)
    np.testing.assert_allclose(curve[0], curve[-1], atol=1e-9)
    assert np.abs(curve).max() <= 1 + 1e-12


def test_a_spirograph_has_the_symmetry_of_its_ring():
    """R = 5 and r = 3 draw a star that a fifth of a turn maps onto itself: 3 turns hold 5 such steps."""
    z = graphics.spirograph(5, 3, 2, samples=5 * 200 + 1) @ [1, 1j]
    turned = z[:-1] * np.exp(2j * np.pi * 3 / 5)
    np.testing.assert_allclose(turned, np.roll(z[:-1], -200), atol=1e-9)


@pytest.mark.parametrize("wheel", [(3, 3, 1), (3, 4, 1), (3, 0, 1), (3, 1, -1)])
def test_a_wheel_must_fit_into_its_ring(wheel):
    with pytest.raises(ValueError, match="expected"):
        graphics.spirograph(*wheel)


@given(points, st.integers(1, 20), st.floats(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_curve_turned_by_a_quarter_gives_the_picture_turned(curve, size, width):
    curve = np.array(curve)
    picture = graphics.draw_curve(curve, size, width=width)
    assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
    turned = graphics.draw_curve(curve[:, ::-1] * [-1, 1], size, width=width)
    np.testing.assert_allclose(turned, np.rot90(picture), atol=1e-6)


@given(points, st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_a_curve_drawn_backwards_is_the_same_picture(curve, size):
    picture = graphics.draw_curve(curve, size)
    np.testing.assert_allclose(graphics.draw_curve(curve[::-1], size), picture, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 3.5, 6])
def test_the_light_of_a_straight_stroke_is_its_width_times_its_length(width):
    picture = graphics.draw_curve([[-1, 0], [1, 0]], 41, width=width)
    np.testing.assert_allclose(picture.sum(axis=0), width, atol=1e-5)


def test_y_points_upwards():
    picture = graphics.draw_curve([[-1, 1], [1, 1]], 9)
    assert picture[0].min() == 1 and picture[2:].max() == 0


def test_a_stroke_outside_the_picture_leaves_it_black():
    assert graphics.draw_curve([[5, 5], [6, 7]], 9).max() == 0


def test_a_point_is_drawn_as_a_disc():
    picture = graphics.draw_curve([[0, 0], [0, 0]], 21, width=9)
    assert picture.sum() == pytest.approx(np.pi * 4.5**2, rel=0.02)


@pytest.mark.parametrize("bad", [[[0, 0]], [[0, 0, 0], [1, 1, 1]], [0, 1], [[0, np.nan], [1, 1]]])
def test_draw_curve_refuses_what_is_no_polyline(bad):
    with pytest.raises(ValueError, match="points"):
        graphics.draw_curve(bad, 9)


def test_draw_curve_refuses_a_negative_width():
    with pytest.raises(ValueError, match="width"):
        graphics.draw_curve([[0, 0], [1, 1]], 9, width=-1)


def test_a_sphere_is_brightest_where_it_faces_the_light():
    """With r the picture's coordinates and l the light, brightness is l.r: 1 at l itself."""
    light = np.array([0.36, 0.48, 0.8])
    sphere = graphics.lit_sphere(201, light=light, ambient=0)
    row, column = np.unravel_index(sphere.argmax(), sphere.shape)
    x, y = (column / 100 - 1) / 0.9, (1 - row / 100) / 0.9
    np.testing.assert_allclose([x, y], light[:2], atol=0.02)
    assert sphere.max() == pytest.approx(1, abs=1e-4)


def test_a_sphere_lit_from_the_viewer_follows_lamberts_law():
    sphere = graphics.lit_sphere(101, light=(0, 0, 5), ambient=0.2, background=0.7)
    for column in (50, 60, 80, 94):
        x = (column / 50 - 1) / 0.9
        assert sphere[50, column] == pytest.approx(0.2 + 0.8 * np.sqrt(1 - x**2), abs=1e-6)
    assert sphere[50, 96] == pytest.approx(0.7)
    np.testing.assert_array_equal(sphere, sphere.T)


def test_a_sphere_lit_from_behind_shows_ambient_light_alone():
    assert set(np.unique(graphics.lit_sphere(31, light=(0, 0, -1), ambient=0.25))) == {0.0, 0.25}


def test_only_the_direction_of_the_light_counts():
    np.testing.assert_allclose(graphics.lit_sphere(21, light=(1, 2, 3)), graphics.lit_sphere(21, light=(10, 20, 30)))


@pytest.mark.parametrize(
    "options", [{"light": (0, 0, 0)}, {"light": (1, 1)}, {"ambient": 1.5}, {"background": -0.1}, {"light": (0, 0, np.nan)}]
)
def test_lit_sphere_refuses_impossible_light(options):
    with pytest.raises(ValueError):
        graphics.lit_sphere(9, **options)
