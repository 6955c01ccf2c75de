import colorsys
import itertools

import numpy as np
import pytest
import skimage.color
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imggen_lib import rendering

points = st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)), min_size=2, max_size=6)


def test_pen_at_centre_of_rolling_circle_draws_circle():
    curve = rendering.spirograph(7, 3, 0)
    np.testing.assert_allclose(np.hypot(*curve.T), 1, atol=1e-12)


def test_rolling_circle_of_half_radius_draws_diameter():
    """The Tusi couple: x = 2 r cos t, y = 0."""
    curve = rendering.spirograph(4, 2, 2)
    np.testing.assert_allclose(curve[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose([curve[:, 0].min(), curve[:, 0].max()], [-1, 1], atol=1e-5)


@given(st.integers(2, 60), st.integers(1, 59), st.floats(0, 100))
@settings(max_examples=50, deadline=None)
def test_spirograph_is_closed_and_within_minus_1_to_1(fixed, rolling, pen):
    rolling = 1 + rolling % (fixed - 1)
    curve = rendering.spirograph(fixed, rolling, pen)
    np.testing.assert_allclose(curve[0], curve[-1], atol=1e-9)
    assert np.abs(curve).max() <= 1 + 1e-12


def test_spirograph_has_rotational_symmetry():
    """With R = 5 and r = 3, a fifth of the parameter range rotates the curve by 3/5 of a revolution."""
    z = rendering.spirograph(5, 3, 2, samples=5 * 200 + 1) @ [1, 1j]
    rotated = z[:-1] * np.exp(2j * np.pi * 3 / 5)
    np.testing.assert_allclose(rotated, np.roll(z[:-1], -200), atol=1e-9)


@pytest.mark.parametrize("radii_and_pen", [(3, 3, 1), (3, 4, 1), (3, 0, 1), (3, 1, -1)])
def test_invalid_spirograph_raises(radii_and_pen):
    with pytest.raises(ValueError, match="expected"):
        rendering.spirograph(*radii_and_pen)


@given(points, st.integers(1, 20), st.floats(0, 5))
@settings(max_examples=50, deadline=None)
def test_rotating_curve_by_90_degrees_rotates_image(curve, size, width):
    curve = np.array(curve)
    image = rendering.draw_curve(curve, size, width=width)
    assert image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
    rotated = rendering.draw_curve(curve[:, ::-1] * [-1, 1], size, width=width)
    np.testing.assert_allclose(rotated, np.rot90(image), atol=1e-6)


@given(points, st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_reversed_curve_gives_same_image(curve, size):
    image = rendering.draw_curve(curve, size)
    np.testing.assert_allclose(rendering.draw_curve(curve[::-1], size), image, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 3.5, 6])
def test_column_sums_of_horizontal_stroke_equal_its_width(width):
    image = rendering.draw_curve([[-1, 0], [1, 0]], 41, width=width)
    np.testing.assert_allclose(image.sum(axis=0), width, atol=1e-5)


def test_y_axis_points_upwards():
    image = rendering.draw_curve([[-1, 1], [1, 1]], 9)
    assert image[0].min() == 1 and image[2:].max() == 0


def test_stroke_outside_image_leaves_it_black():
    assert rendering.draw_curve([[5, 5], [6, 7]], 9).max() == 0


def test_point_is_drawn_as_disc():
    image = rendering.draw_curve([[0, 0], [0, 0]], 21, width=9)
    assert image.sum() == pytest.approx(np.pi * 4.5**2, rel=0.02)


@pytest.mark.parametrize("bad", [[[0, 0]], [[0, 0, 0], [1, 1, 1]], [0, 1], [[0, np.nan], [1, 1]]])
def test_draw_curve_of_invalid_points_raises(bad):
    with pytest.raises(ValueError, match="points"):
        rendering.draw_curve(bad, 9)


def test_draw_curve_with_negative_width_raises():
    with pytest.raises(ValueError, match="width"):
        rendering.draw_curve([[0, 0], [1, 1]], 9, width=-1)


def test_lit_sphere_is_brightest_where_its_normal_is_the_light_direction():
    light = np.array([0.36, 0.48, 0.8])
    sphere = rendering.lit_sphere(201, light=light, ambient=0)
    row, column = np.unravel_index(sphere.argmax(), sphere.shape)
    x, y = (column / 100 - 1) / 0.9, (1 - row / 100) / 0.9
    np.testing.assert_allclose([x, y], light[:2], atol=0.02)
    assert sphere.max() == pytest.approx(1, abs=1e-4)


def test_lit_sphere_follows_lamberts_cosine_law():
    sphere = rendering.lit_sphere(101, light=(0, 0, 5), ambient=0.2, background=0.7)
    for column in (50, 60, 80, 94):
        x = (column / 50 - 1) / 0.9
        assert sphere[50, column] == pytest.approx(0.2 + 0.8 * np.sqrt(1 - x**2), abs=1e-6)
    assert sphere[50, 96] == pytest.approx(0.7)
    np.testing.assert_array_equal(sphere, sphere.T)


def test_sphere_lit_from_behind_has_ambient_light_only():
    assert set(np.unique(rendering.lit_sphere(31, light=(0, 0, -1), ambient=0.25))) == {0.0, 0.25}


def test_length_of_light_vector_has_no_effect():
    np.testing.assert_allclose(rendering.lit_sphere(21, light=(1, 2, 3)), rendering.lit_sphere(21, light=(10, 20, 30)))


@pytest.mark.parametrize(
    "options", [{"light": (0, 0, 0)}, {"light": (1, 1)}, {"ambient": 1.5}, {"background": -0.1}, {"light": (0, 0, np.nan)}]
)
def test_lit_sphere_of_invalid_arguments_raises(options):
    with pytest.raises(ValueError):
        rendering.lit_sphere(9, **options)


KOCH = [[0, 0], [1 / 3, 0], [1 / 2, np.sqrt(3) / 6], [2 / 3, 0], [1, 0]]
TRIANGLE = np.column_stack([np.cos(np.deg2rad([90, -30, -150, -270])), np.sin(np.deg2rad([90, -30, -150, -270]))])
lights = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.3, 1))


def normalised(light):
    return np.array(light) / np.linalg.norm(light)


@pytest.mark.parametrize("depth", range(6))
def test_koch_snowflake_has_closed_form_length_and_area(depth):
    curve = rendering.fractal(TRIANGLE, KOCH, depth)
    assert curve.shape == (3 * 4**depth + 1, 2)
    side = np.sqrt(3)
    assert np.hypot(*np.diff(curve, axis=0).T).sum() == pytest.approx(3 * side * (4 / 3) ** depth)
    x, y = curve.T
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    assert area == pytest.approx(np.sqrt(3) / 4 * side**2 * (1 + 0.75 * sum((4 / 9) ** k for k in range(1, depth + 1))))


def test_fractal_of_straight_motif_subdivides_line():
    np.testing.assert_allclose(rendering.fractal([[0, 0], [2, 4]], [[0, 0], [0.5, 0], [1, 0]], 2)[:, 1], [0, 1, 2, 3, 4])


def test_fractal_motif_lies_to_the_left_of_each_segment():
    assert rendering.fractal([[0, 0], [1, 0]], KOCH, 1)[2, 1] > 0
    assert rendering.fractal([[1, 0], [0, 0]], KOCH, 1)[2, 1] < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0]], KOCH, 1), "start"),
        (([[0, 0], [1, 0]], [[0, 0], [0, 1]], 1), "motif leads from"),
        (([[0, 0], [1, 0]], KOCH, 30), "ten million"),
        (([[0, 0], [1, 0]], np.linspace([0, 0], [1, 0], 16), 6), "ten million"),  # 15^6 is 11.4 million
        (([[0, 0], [1, 0]], KOCH, -1), "depth"),
    ],
)
def test_fractal_of_invalid_arguments_raises(arguments, message):
    with pytest.raises(ValueError, match=message):
        rendering.fractal(*arguments)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(2, 9), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_gradient_noise_is_zero_on_lattice_and_bounded(down, across, step, seed):
    noise = rendering.gradient_noise((down * step, across * step), (down, across), rng=seed)
    np.testing.assert_allclose(noise[::step, ::step], 0, atol=1e-12)
    assert np.abs(noise).max() <= np.sqrt(0.5) + 1e-12


def test_gradient_noise_has_sampled_gradients_at_lattice_points():
    """Near a lattice point the noise is the linear function with the gradient of that point."""
    noise = rendering.gradient_noise((400, 400), (4, 4), rng=0)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (4, 4))
    np.testing.assert_allclose(noise[::100, 1::100] * 100, np.cos(angles), atol=2e-3)
    np.testing.assert_allclose(noise[1::100, ::100] * 100, np.sin(angles), atol=2e-3)


def test_gradient_noise_is_periodic():
    noise = rendering.gradient_noise((96, 128), (3, 4), rng=5, octaves=2)
    for axis in (0, 1):
        largest_step = np.abs(np.diff(noise, axis=axis)).max()
        assert np.abs(np.take(noise, 0, axis) - np.take(noise, -1, axis)).max() <= 1.1 * largest_step


def test_octaves_halve_amplitude_and_double_frequency():
    rng = np.random.default_rng(3)
    expected = sum(rendering.gradient_noise((64, 64), (2 * 2**k, 2**k), rng=rng) / 2**k for k in range(3))
    np.testing.assert_allclose(rendering.gradient_noise((64, 64), (2, 1), rng=3, octaves=3), expected)


@pytest.mark.parametrize("bad", [((8,), (1, 1)), ((8, 8), (0, 1)), ((8, 8), 2), ((8, 8, 3), (1, 1))])
def test_gradient_noise_of_invalid_shapes_raises(bad):
    with pytest.raises((TypeError, ValueError), match="(shape|cells) is .*; expected"):
        rendering.gradient_noise(*bad, rng=0)
    with pytest.raises(TypeError, match="shape is 8.5; expected a whole number"):
        rendering.gradient_noise((8.5, 8), (1, 1), rng=0)


@given(st.floats(0.05, 1))
@settings(max_examples=20, deadline=None)
def test_sphere_normals_are_points_of_unit_sphere(radius):
    normals = rendering.sphere_normals(41, radius=radius)
    axis = np.linspace(-1, 1, 41)
    distance = np.hypot(*np.meshgrid(axis, axis))
    # Points on the rim are left out: rounding decides their side.
    inside, outside = distance < radius - 1e-9, distance > radius + 1e-9
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1)[inside], 1)
    assert (normals[outside] == 0).all()
    np.testing.assert_allclose(normals[20, inside[20], 0] * radius, axis[inside[20]], atol=1e-12)
    assert normals[0, 20, 1] >= 0 and (normals[..., 2] >= 0).all()


def test_sphere_includes_its_rim():
    np.testing.assert_array_equal(rendering.sphere_normals(5, radius=1)[2, [0, -1]], [[-1, 0, 0], [1, 0, 0]])


def test_batched_spheres_match_single_spheres():
    radii = np.array([0.2, 0.5, 1])
    light = np.array([[1, 0, 1], [0, 2, 1], [0.3, 0.3, 3]])
    normals, shadows = rendering.sphere_normals(15, radius=radii), rendering.sphere_shadow(15, light, radius=radii)
    for k in range(3):
        np.testing.assert_array_equal(normals[k], rendering.sphere_normals(15, radius=radii[k]))
        np.testing.assert_allclose(shadows[k], rendering.sphere_shadow(15, light[k], radius=radii[k]))


def test_diffuse_term_is_cosine():
    for degrees in (0, 30, 60, 90, 120, 180):
        normal = [np.sin(np.deg2rad(degrees)), 0, np.cos(np.deg2rad(degrees))]
        diffuse, _ = rendering.phong(normal, (0, 0, 7))
        assert diffuse == pytest.approx(max(0, np.cos(np.deg2rad(degrees))), abs=1e-12)


@given(lights, st.floats(1, 300))
@settings(max_examples=50, deadline=None)
def test_specular_term_is_one_where_normal_bisects_light_and_viewer(light, shininess):
    direction = normalised(light)
    halfway = normalised(direction + np.array([0, 0, 1]))
    assert rendering.phong(halfway, light, shininess=shininess)[1] == pytest.approx(1, abs=1e-9)
    # A rotation of the normal by a small angle rotates the reflected light by twice that angle.
    across = np.cross(halfway, [0.6, -0.8, 0.1])
    away = np.cos(0.1) * halfway + np.sin(0.1) * across / np.linalg.norm(across)
    assert rendering.phong(away, light, shininess=shininess)[1] < 1


def test_specular_term_is_cosine_to_the_power_of_shininess():
    angle = 0.2
    normal = [np.sin(angle), 0, np.cos(angle)]
    for shininess in (1, 10, 50):
        _, specular = rendering.phong(normal, (0, 0, 1), shininess=shininess)
        assert specular == pytest.approx(np.cos(2 * angle) ** shininess)


def test_surface_facing_away_from_light_has_no_diffuse_and_specular_term():
    diffuse, specular = rendering.phong(rendering.sphere_normals(31), (0, 0, -1))
    assert diffuse.max() == 0 and specular.max() == 0


@given(lights, st.floats(0.1, 0.25))
@settings(max_examples=30, deadline=None)
def test_shadow_has_area_and_centre_of_its_ellipse(light, radius):
    """The ellipse has the semi-axes R and R / l_z and the centre -R (l_x, l_y) / l_z. It must lie inside the image."""
    direction = normalised(light)
    centre = -radius * direction[:2] / direction[2]
    extent = np.abs(centre).max() + radius / direction[2]
    shadow = rendering.sphere_shadow(301, light, radius=radius)
    assert shadow.min() >= 0 and shadow.max() <= 1
    if extent > 0.98:
        return
    axis = np.linspace(-1, 1, 301)
    x, y = np.meshgrid(axis, -axis)
    assert shadow.sum() * (2 / 300) ** 2 == pytest.approx(np.pi * radius**2 / direction[2], rel=0.03)
    np.testing.assert_allclose([np.average(x, weights=shadow), np.average(y, weights=shadow)], centre, atol=0.005)


def test_shadow_values_are_exact_for_vertical_and_oblique_light():
    """The pixels of the middle row are a quarter apart; the edge is anti-aliased over one pixel."""
    assert rendering.sphere_shadow(9, (0, 0, 1), radius=0.5)[4].tolist() == [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0]
    # In the middle row the distance from the ray through the centre is |x + 0.5| / sqrt(2) for light from 45 degrees.
    x = np.linspace(-1, 1, 9)
    distance = np.abs(x + 0.5) / np.sqrt(2)
    expected = np.where(x - 0.5 < 0, np.clip((0.5 - distance) * 4 + 0.5, 0, 1), 0)
    np.testing.assert_allclose(rendering.sphere_shadow(9, (1, 0, 1), radius=0.5)[4], expected)


def test_wrap_looks_up_longitude_and_latitude():
    degrees = np.tile(np.arange(360.0), (180, 1))
    longitude, latitude = np.deg2rad([0.5, 90.5, 180.5, 270.5]), np.deg2rad(-20)
    normals = np.stack(
        [np.sin(longitude) * np.cos(latitude), np.full(4, np.sin(latitude)), np.cos(longitude) * np.cos(latitude)], axis=-1
    )
    assert rendering.wrap(degrees, normals).tolist() == [0, 90, 180, 270]
    assert rendering.wrap(degrees, normals, rotation=np.deg2rad(30)).tolist() == [30, 120, 210, 300]
    assert rendering.wrap(np.arange(180.0)[:, np.newaxis], normals).tolist() == [110] * 4
    assert rendering.wrap(np.arange(180.0)[:, np.newaxis], [[0, 1, 0], [0, -1, 0]]).tolist() == [0, 179]


def test_wrap_keeps_channels():
    texture = np.random.default_rng(0).random((4, 8, 3))
    normals = rendering.sphere_normals(9)
    wrapped = rendering.wrap(texture, normals, rotation=0.3)
    assert wrapped.shape == (9, 9, 3)
    for channel in range(3):
        np.testing.assert_array_equal(wrapped[..., channel], rendering.wrap(texture[..., channel], normals, rotation=0.3))


def test_wrap_accepts_normals_whose_y_exceeds_1_by_rounding():
    texture = np.arange(6.0)[:, np.newaxis]
    assert rendering.wrap(texture, [[0, 1 + 1e-12, 0], [0, -1 - 1e-12, 0]]).tolist() == [0, 5]


def test_defaults():
    np.testing.assert_array_equal(
        rendering.lit_sphere(15), rendering.lit_sphere(15, light=(-1, 1, 1.5), ambient=0.1, background=0)
    )
    np.testing.assert_array_equal(rendering.sphere_normals(15), rendering.sphere_normals(15, radius=0.9))
    shadow = rendering.sphere_shadow(15, (1, 1, 2))
    np.testing.assert_array_equal(shadow, rendering.sphere_shadow(15, (1, 1, 2), radius=0.9))
    normal, light = (0, 0.6, 0.8), (0, 0, 1)
    assert rendering.phong(normal, light)[1] == rendering.phong(normal, light, shininess=30)[1]
    assert len(rendering.spirograph(5, 3, 2)) == 2000
    assert len(rendering.spirograph(5, 3, 2, samples=2)) == 2
    line = [[-1, 0], [1, 0.2]]
    np.testing.assert_array_equal(rendering.draw_curve(line, 9), rendering.draw_curve(line, 9, width=1))
    noise = rendering.gradient_noise((8, 8), (2, 2), rng=0)
    np.testing.assert_array_equal(noise, rendering.gradient_noise((8, 8), (2, 2), rng=0, octaves=1))


def test_options_of_rendering_are_keyword_only():
    for function, arguments in [
        (rendering.spirograph, (5, 3, 2, 10)),
        (rendering.draw_curve, ([[0, 0], [1, 1]], 5, 1.0)),
        (rendering.gradient_noise, ((8, 8), (2, 2), 0)),
        (rendering.sphere_normals, (9, 0.5)),
        (rendering.phong, ((0, 0, 1), (0, 0, 1), 30)),
        (rendering.sphere_shadow, (9, (0, 0, 1), 0.5)),
        (rendering.wrap, ([[1.0]], (0, 0, 1), 0.0)),
        (rendering.lit_sphere, (9, (0, 0, 1))),
        (rendering.render_marbles, (1, 0)),
    ]:
        with pytest.raises(TypeError, match="positional argument"):
            function(*arguments)


numbers = st.floats(-2, 2)


@given(
    hnp.arrays(float, hnp.array_shapes(max_dims=3, max_side=4), elements=numbers),
    hnp.arrays(float, hnp.array_shapes(max_dims=1, max_side=4), elements=numbers),
)
@example(np.array([0.0, 0.0, 1.0]), np.full(3, 1e-250))
@settings(max_examples=60, deadline=None)
def test_phong_accepts_only_vectors_of_three_numbers(normals, light):
    if normals.shape[-1] == 3 and light.shape == (3,) and light.any():
        for term in rendering.phong(normals, light):
            assert term.shape == normals.shape[:-1] and (term >= 0).all() and (term <= 1).all()
    else:
        with pytest.raises(ValueError, match=r"(normals|light) (has the shape|is) .*expected"):
            rendering.phong(normals, light)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rendering.sphere_normals(9, radius=0), "radius is 0.0; expected more than 0 and at most 1"),
        (lambda: rendering.sphere_normals(9, radius=[0.5, 2]), "radius"),
        (lambda: rendering.sphere_normals(1), "size is 1; expected at least 2"),
        (lambda: rendering.sphere_shadow(9, (1, 0, 0)), "a direction from above"),
        (lambda: rendering.sphere_shadow(9, [(0, 0, 1), (1, 0, -1)]), "a direction from above"),
        (lambda: rendering.phong([(0, 0, 1)] * 2, [(0, 0, 1), (0, 0, 0)]), "expected not all zeros"),
        (lambda: rendering.sphere_shadow(9, (1, 0)), "a last axis of length 3"),
        (lambda: rendering.phong((0, 0, 1), (0, 0, 1), shininess=0.5), "shininess is 0.5"),
        (lambda: rendering.phong((0, 0, np.nan), (0, 0, 1)), "normals contains NaN"),
        (lambda: rendering.wrap([1.0, 2.0], [0, 0, 1]), "texture has the shape"),
        (lambda: rendering.wrap([[1.0]], [0, 1]), "normals has the shape"),
    ],
)
def test_shading_of_invalid_arguments_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.fixture(scope="module")
def marbles():
    return rendering.render_marbles(60, rng=0)


def test_marbles_depend_on_seed_and_factors_only(marbles):
    images, factors = marbles
    assert images.shape == (60, 64, 64, 3) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    again, _ = rendering.render_marbles(60, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(images, again)
    # The returned factors, passed back, give the same images with any seed.
    np.testing.assert_allclose(rendering.render_marbles(60, rng=1, **factors)[0], images, atol=1e-5)


def test_every_saturated_pixel_has_hue_of_its_factor(marbles):
    images, factors = marbles
    hsv = skimage.color.rgb2hsv(images)
    for k in range(60):
        coloured = hsv[k][hsv[k, ..., 1] > 0.15]
        error = (coloured[:, 0] - factors["hue"][k] + 0.5) % 1 - 0.5
        assert len(coloured) > 30 and np.abs(error).max() < 1e-3
        assert np.floor(factors["hue"][k] * 6 + 0.5) % 6 == k % 6


def test_table_and_shadow_have_brightness_of_their_factors(marbles):
    images, factors = marbles
    light = factors["light"]
    np.testing.assert_allclose(np.linalg.norm(light, axis=1), 1)
    rows, columns = np.where(light[:, 1] > 0, 0, -1), np.where(light[:, 0] > 0, -1, 0)
    corner = images[np.arange(60), rows, columns]
    expected = factors["background_value"] * (0.35 + 0.65 * light[:, 2])
    np.testing.assert_allclose(corner, np.repeat(expected[:, np.newaxis], 3, axis=1), atol=1e-5)

    low, _ = rendering.render_marbles(1, rng=0, light=(1, 0, 1), radius=0.4, background_value=1.0)
    # The centre of the shadow is x = -0.4, column 19 of 64. The marble covers the columns from 19 on.
    np.testing.assert_allclose(low[0, 32, 12], 0.35, atol=1e-5)


def test_colours_of_marble_in_light_shade_and_highlight():
    """The RGB colour of a red marble is (1, 0.15, 0.15), its ambient light 0.15 and its largest specular share 0.8."""
    fixed = {"rng": 0, "size": 101, "hue": 0.0, "texture": 0, "radius": 0.8}
    colour = np.array([1, 0.15, 0.15])
    lit, _ = rendering.render_marbles(1, light=(0, 0, 1), **fixed)
    np.testing.assert_allclose(lit[0, 50, 50], 0.8 + 0.2 * colour, atol=1e-5)
    shaded, _ = rendering.render_marbles(1, light=(-1, 0, 0.01), **fixed)
    np.testing.assert_allclose(shaded[0, 50, 80], 0.15 * colour, atol=1e-5)
    # Column 80 is x = 0.6, so the normal is (0.75, 0, sqrt(1 - 0.75^2)) up to the half pixel by which the sphere is larger.
    x = 0.6 / (0.8 + 1 / 101)
    cosine = np.sqrt(1 - x**2)
    specular = max(2 * cosine**2 - 1, 0) ** 32
    expected = 0.8 * specular + (0.15 + 0.85 * cosine) * (1 - 0.8 * specular) * colour
    np.testing.assert_allclose(lit[0, 50, 80], expected, atol=1e-5)


def test_table_has_hue_of_background_and_saturation_0_6():
    n = len(rendering.BACKGROUNDS)
    images, _ = rendering.render_marbles(
        n, rng=0, size=8, radius=0.3, light=(0, 0, 1), background_value=0.9, background_hue=np.arange(n)
    )
    expected = [colorsys.hsv_to_rgb((index - 1) / 6, 0.6 if index else 0, 0.9) for index in range(n)]
    np.testing.assert_allclose(images[:, 0, 0], expected, atol=1e-5)
    assert rendering.BACKGROUNDS[0] == "grey" and rendering.BACKGROUNDS[1:] == rendering.HUES


def test_sampled_factors_cover_their_ranges():
    _, factors = rendering.render_marbles(3000, rng=0, size=2)
    elevation = np.rad2deg(np.arcsin(factors["light"][:, 2]))
    azimuth = np.arctan2(factors["light"][:, 1], factors["light"][:, 0])
    offset = (6 * factors["hue"] - np.arange(3000) + 3) % 6 - 3
    for values, low, high in [
        (elevation, 35, 80),
        (azimuth, -np.pi, np.pi),
        (offset, -0.3, 0.3),
        (factors["rotation"], 0, 2 * np.pi),
        (factors["tilt"], 0, np.pi),
        (factors["radius"], 0.35, 0.7),
        (factors["background_value"], 0.4, 1),
    ]:
        assert values.min() == pytest.approx(low, abs=0.01 * (high - low)) and values.min() >= low - 1e-9
        assert values.max() == pytest.approx(high, abs=0.01 * (high - low)) and values.max() <= high + 1e-9
    np.testing.assert_allclose(np.bincount(factors["texture"]) / 3000, 1 / 3, atol=0.03)
    assert not factors["background_hue"].any()
    for a, b in itertools.combinations(["rotation", "tilt", "radius", "background_value"], 2):
        assert abs(np.corrcoef(factors[a], factors[b])[0, 1]) < 0.08


def test_images_of_a_seed_are_unchanged():
    """The dataset of marbles is rendered from a seed, and shipped models were trained on it."""
    images, factors = rendering.render_marbles(6, rng=0, size=32, texture=[0, 1, 2, 0, 1, 2])
    mean = [
        [0.5633, 0.4426, 0.4096],
        [0.6807, 0.6595, 0.6050],
        [0.4668, 0.5386, 0.4767],
        [0.6051, 0.7291, 0.7050],
        [0.5058, 0.4796, 0.5997],
        [0.4443, 0.3166, 0.4411],
    ]
    np.testing.assert_allclose(images.mean(axis=(1, 2)), mean, atol=1e-4)
    np.testing.assert_allclose(factors["rotation"][:3], [0.78089486, 4.21365747, 4.06641163])


def test_image_does_not_depend_on_the_other_images_of_a_batch():
    images, factors = rendering.render_marbles(102, rng=0, size=8)
    for index in (0, 99, 100, 101):
        one = {name: values[index : index + 1] for name, values in factors.items()}
        np.testing.assert_allclose(rendering.render_marbles(1, rng=1, size=8, **one)[0][0], images[index], atol=1e-6)


def test_full_revolution_has_no_effect_and_tilt_rotates_image():
    fixed = {"rng": 0, "size": 31, "texture": 2, "light": (0, 0, 1), "radius": 1.0, "hue": 0.0}
    image, _ = rendering.render_marbles(1, rotation=0.5, tilt=0.0, **fixed)
    revolved, _ = rendering.render_marbles(1, rotation=0.5 + 2 * np.pi, tilt=2 * np.pi, **fixed)
    assert np.mean(np.abs(image - revolved) > 0.01) < 0.01  # rounding moves a few pixels to the next pixel of the texture
    tilted, _ = rendering.render_marbles(1, rotation=0.5, tilt=np.pi / 2, **fixed)
    assert np.mean(np.abs(np.rot90(image[0]) - tilted[0]) > 0.01) < 0.02


def test_marble_has_radius_of_its_factor():
    for radius in (0.3, 0.6, 0.9):
        images, _ = rendering.render_marbles(1, rng=0, size=101, radius=radius, texture=0, light=(0, 0, 1), hue=0.0)
        saturation = np.ptp(images[0], axis=-1)
        assert np.sum(saturation > 0.02) * (2 / 100) ** 2 == pytest.approx(np.pi * radius**2, rel=0.06)


def test_striped_and_veined_textures_add_white():
    fixed = {"light": (0, 0, 1), "radius": 0.8, "hue": 0.0, "rotation": 0.0, "tilt": 0.0}
    images, _ = rendering.render_marbles(3, rng=0, texture=[0, 1, 2], **fixed)
    plain, striped, veined = images[:, 20:44, 20:44]
    assert np.diff(plain[..., 1], axis=0).max() < 0.2 < np.abs(np.diff(striped[..., 1], axis=0)).max()
    assert plain[..., 1].mean() < veined[..., 1].mean()
    rotated, _ = rendering.render_marbles(1, rng=0, texture=1, **{**fixed, "rotation": 1.0})
    assert np.abs(rotated[0] - images[1]).max() > 0.3


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"colour": 0.5}, "factor is 'colour'; expected one of hue, texture"),
        ({"hue": 1.5}, "hue is 1.5; expected numbers from 0 to 1"),
        ({"texture": 3}, "texture is 3.0; expected integers from 0 to 2"),
        ({"texture": 0.5}, "texture is 0.5; expected integers"),
        ({"radius": 0.0}, "radius"),
        ({"background_value": -0.1}, "background_value is -0.1; expected numbers from 0 to 1"),
        ({"hue": [0.1, 0.2, 1.5, 0.3]}, "expected numbers from 0 to 1"),
        ({"hue": [0.1, -0.2, 0.5, 0.3]}, "expected numbers from 0 to 1"),
        ({"texture": [0, 0.5, 1, 2]}, "expected integers from 0 to 2"),
        ({"background_hue": 7}, "background_hue is 7.0; expected integers from 0 to 6"),
        ({"light": (0, 0, -1)}, "light"),
        ({"hue": [0.1, 0.2]}, r"hue has the shape \(2,\); expected one value for all images or \(4,\)"),
        ({"rotation": np.nan}, "rotation contains NaN"),
    ],
)
def test_marbles_of_invalid_factors_raise(factors, message):
    with pytest.raises(ValueError, match=message):
        rendering.render_marbles(4, rng=0, **factors)
