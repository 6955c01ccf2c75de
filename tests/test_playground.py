import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import ops
from scipy.special import expit

from imggen_lib.models.gan import LOSSES
from imggen_lib.models.gan.losses import generator_loss_by_name
from imggen_lib.notebook.playground import EXTENT, NOISE_STD, SOURCES, Playground, TwoRateAdam, _MeanLosses, real_points
from imggen_lib.training.callbacks import Diverged

SMALL = {"width": 8, "depth": 1}


@pytest.fixture(scope="module")
def compiled():
    """A playground after its first step, so that further steps need no compilation."""
    playground = Playground(**SMALL)
    playground.step()
    return playground


@pytest.fixture
def playground(compiled):
    compiled.generator_rate = compiled.discriminator_rate = 2e-3
    compiled.change(data="ring", loss="non_saturating", penalty=None, seed=0, **SMALL)
    return compiled


def linear(slope, offset=0.0, loss="non_saturating"):
    """An untrained playground whose discriminator's logit is a linear function of the point."""
    playground = Playground(loss=loss, width=2, depth=1)
    # LeakyReLU(x) - LeakyReLU(-x) = 1.2 x with the slope 0.2.
    first = np.outer(slope, [1, -1])
    last = np.array([[1], [-1]]) / 1.2
    playground.gan.discriminator.set_weights([first, np.zeros(2), last, np.array([offset])])
    return playground


def weights(network):
    return [ops.convert_to_numpy(variable).copy() for variable in network.weights]


def state(playground):
    variables = [*playground.gan.variables, *playground.gan.optimizer.variables]
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


def equal(ones, others):
    return all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("data", SOURCES)
def test_points_of_a_source_are_in_range_and_reproducible(data):
    points = real_points(data, 5000, 0)
    assert points.shape == (5000, 2) and points.dtype == "float32"
    assert np.abs(points).max() < EXTENT
    np.testing.assert_array_equal(points, real_points(data, 5000, np.random.default_rng(0)))
    # All sources but the spiral are symmetric about the origin.
    if data != "spiral":
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.1)


def test_points_have_the_geometry_that_the_source_is_named_after():
    radii = np.linalg.norm(real_points("ring", 5000, 0), axis=1)
    assert np.isclose(radii.mean(), 1.5, atol=0.02) and np.isclose(radii.std(), NOISE_STD, atol=0.01)
    across = real_points("bar", 5000, 0) @ [-0.6, 0.8]
    assert np.isclose(across.std(), NOISE_STD, atol=0.01)
    for data, side, step in (("nine clusters", 3, 1.5), ("twenty-five clusters", 5, 1.0)):
        points = real_points(data, 5000, 0) / step + (side - 1) / 2
        assert len(np.unique(points.round(), axis=0)) == side**2
        assert np.isclose((points - points.round()).std() * step, NOISE_STD, atol=0.01)
    for data in ("two moons", "spiral"):
        # A curve leaves most of the square empty.
        cells = np.histogram2d(*real_points(data, 5000, 0).T, bins=26, range=[[-EXTENT, EXTENT]] * 2)[0]
        assert (cells > 0).mean() < 0.4


def test_the_probability_of_real_is_the_sigmoid_of_the_logit():
    points = np.random.default_rng(0).normal(size=(50, 2))
    expected = expit(points @ [2.0, -1.0] + 0.5)
    np.testing.assert_allclose(linear([2.0, -1.0], 0.5).real_probability(points), expected, rtol=1e-4)
    untrained = Playground(**SMALL)
    logits = ops.convert_to_numpy(untrained.gan.discriminator(points.astype("float32")))
    np.testing.assert_allclose(untrained.real_probability(points), expit(logits[:, 0]), rtol=1e-5)


def test_the_probability_from_a_wasserstein_critic_is_invariant_to_shift_and_scale():
    points = np.random.default_rng(0).normal(size=(50, 2))
    one, other = linear([1.0, 2.0], loss="wasserstein"), linear([300.0, 600.0], 7.0, loss="wasserstein")
    np.testing.assert_allclose(one.real_probability(points), other.real_probability(points), atol=1e-4)
    assert 0.4 < one.real_probability(points).mean() < 0.6


@pytest.mark.parametrize("loss", LOSSES)
def test_descent_directions_match_the_closed_form_and_finite_differences(loss):
    points = np.random.default_rng(0).normal(size=(20, 2))
    slope = np.array([2.0, -1.0])
    D = expit(points @ slope)
    # The linear discriminator of the test has no bias, and the mean of the real points in it is computed as in the class.
    model = linear(slope, loss=loss)
    real = real_points(model.data, 500, [model.seed, 2]).mean(axis=0) @ slope
    factor = {"non_saturating": 1 - D, "minimax": D, "relativistic": expit(real - points @ slope)}.get(loss, np.ones(20))
    np.testing.assert_allclose(model.descent_directions(points), np.outer(factor, slope), rtol=1e-4)

    nonlinear = Playground(loss=loss, **SMALL)
    compared = ops.mean(nonlinear.gan.discriminator(real_points(nonlinear.data, 500, [nonlinear.seed, 2])))

    def value(point):
        logit = nonlinear.gan.discriminator(point[np.newaxis].astype("float32"))
        return float(generator_loss_by_name(loss, logit, compared))

    for point, direction in zip(points[:5], nonlinear.descent_directions(points[:5]), strict=True):
        differences = [-(value(point + step) - value(point - step)) / 2e-2 for step in 1e-2 * np.eye(2)]
        np.testing.assert_allclose(direction, differences, atol=0.02)


def test_two_rate_adam_equals_adam_with_the_rate_of_each_variable():
    def variables():
        return [
            keras.Variable([1.0, 2.0], name=name, dtype="float32") for name in ("generator_0", "discriminator_0", "other")
        ]

    gradients = [ops.convert_to_tensor(values) for values in ([0.5, -1.0], [2.0, 0.1], [-3.0, 1.0])]

    def after(rate, discriminator_rate=None, beta_1=0.5):
        moved = variables()
        if discriminator_rate is None:
            optimizer = keras.optimizers.Adam(rate, beta_1=beta_1)
        else:
            optimizer = TwoRateAdam(rate, beta_1=beta_1)
            optimizer.discriminator_rate.assign(discriminator_rate)
        for _ in range(3):
            optimizer.apply(gradients, moved)
        return [ops.convert_to_numpy(variable) for variable in moved]

    slow, fast, both = after(0.01), after(0.1), after(0.01, 0.1)
    np.testing.assert_allclose(after(0.01, 0.01), slow, rtol=1e-6)
    np.testing.assert_allclose(both, [slow[0], fast[1], slow[2]], rtol=1e-6)


@pytest.mark.parametrize(("frozen", "trained"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_a_rate_of_zero_freezes_only_that_network(playground, frozen, trained):
    setattr(playground, f"{frozen}_rate", 0)
    networks = {name: getattr(playground.gan, name) for name in (frozen, trained)}
    before = {name: weights(network) for name, network in networks.items()}
    playground.step(20)
    assert equal(before[frozen], weights(networks[frozen]))
    changes = [not np.array_equal(*pair) for pair in zip(before[trained], weights(networks[trained]), strict=True)]
    assert all(changes)


def test_a_new_rate_takes_effect_without_reset_or_compilation(playground):
    playground.step(5)
    function, before = playground.gan.train_function, state(playground)
    playground.generator_rate, playground.discriminator_rate = 0, 0.0
    assert playground.steps == 5 and playground.gan.train_function is function
    optimizer = playground.gan.optimizer
    assert float(optimizer.learning_rate) == float(optimizer.discriminator_rate) == 0
    networks = [*playground.gan.generator.weights, *playground.gan.discriminator.weights]
    held = [ops.convert_to_numpy(variable).copy() for variable in networks]
    playground.step(5)
    assert playground.gan.train_function is function
    assert equal(held, [ops.convert_to_numpy(variable) for variable in networks])
    assert not equal(before, state(playground))


def agreement(ones, others):
    """The fraction of values that agree. Rounding differs between runs, and Adam's first steps can amplify it."""
    pairs = zip(ones, others, strict=True)
    return np.mean(np.concatenate([np.isclose(one, other, atol=5e-4).ravel() for one, other in pairs]))


def test_reset_and_equal_seeds_give_the_same_training(playground):
    start, points = state(playground), playground.generated_points()
    playground.step(5)
    end, history = state(playground), playground.history
    assert not equal(start, end)
    playground.reset()
    assert equal(start, state(playground)) and (playground.steps, playground.history) == (0, [])
    np.testing.assert_array_equal(points, playground.generated_points())
    playground.step(5)
    assert agreement(end, state(playground)) > 0.9
    np.testing.assert_allclose(history, playground.history, rtol=1e-2)

    other = Playground(**SMALL)
    assert equal(start, state(other)) and np.array_equal(points, other.generated_points())
    playground.change(seed=1)
    assert not np.array_equal(points, playground.generated_points())
    assert agreement(weights(other.gan.generator), weights(playground.gan.generator)) < 0.5


def test_reset_keeps_the_learning_rates(playground):
    playground.generator_rate = 0.01
    playground.reset()
    assert np.isclose(float(playground.gan.optimizer.learning_rate), 0.01)
    assert np.isclose(float(playground.gan.optimizer.discriminator_rate), 0.002)


def test_returning_to_earlier_settings_reuses_the_compiled_model(playground):
    gan = playground.gan
    playground.change(loss="hinge", width=4)
    assert playground.gan is not gan and playground.gan.loss_name == "hinge"
    assert playground.gan.discriminator.layers[1].units == 4
    playground.change(data="bar", **SMALL, loss="non_saturating")
    assert playground.gan is gan and playground.steps == 0


def test_the_history_holds_means_over_groups_of_steps(playground):
    playground.step(50)
    playground.step(10)
    assert [steps for steps, *_ in playground.history] == [20, 40, 50, 60]
    # After twenty steps the discriminator is near chance: log 2, and twice that.
    np.testing.assert_allclose(playground.history[0][1:], [np.log(2), 2 * np.log(2)], atol=0.3)

    losses = _MeanLosses(50)
    losses.on_train_begin()
    each = np.arange(1, 51)
    # Keras passes means over all steps so far, and counts the last group as full.
    for batch, so_far in ((19, 20), (39, 40), (59, 50)):
        mean = each[:so_far].mean()
        losses.on_train_batch_end(batch, {"generator_loss": mean, "discriminator_loss": -mean})
    np.testing.assert_allclose(losses.means, [(20, 10.5, -10.5), (40, 30.5, -30.5), (50, 45.5, -45.5)])


def test_divergence_raises_and_restores_the_earlier_state(playground):
    playground.step(5)
    before, data = weights(playground.gan), playground._rng.bit_generator.state
    playground.discriminator_rate = playground.generator_rate = 1e30
    with pytest.raises(Diverged, match="between steps 5 and 25.*lower learning rates"):
        playground.step(20)
    assert playground.steps == 5 and equal(before, weights(playground.gan))
    assert playground._rng.bit_generator.state == data


def test_precision_and_recall_of_real_points_one_cluster_and_no_cluster(playground, monkeypatch):
    playground.change(data="nine clusters")
    rng = np.random.default_rng(1)
    for points, expected in {
        "real": (real_points("nine clusters", 2000, rng), (0.99, 0.99)),
        "one": (NOISE_STD * rng.standard_normal((2000, 2)), (0.99, 1 / 9)),
        "none": (np.full((2000, 2), 0.75), (0, 0)),
    }.values():
        monkeypatch.setattr(playground, "generated_points", lambda points=points: points)
        np.testing.assert_allclose(playground.precision_recall(), expected, atol=0.02)
    assert "precision 0%, recall 0%" in playground.status()


def test_the_figure_shows_the_points_and_both_losses(playground):
    playground.step(40)
    figure = playground.plot()
    plane, losses = figure.axes
    real, generated = plane.lines
    np.testing.assert_array_equal(generated.get_xydata(), playground.generated_points(len(generated.get_xydata())))
    assert np.abs(np.linalg.norm(real.get_xydata(), axis=1) - 1.5).max() < 5 * NOISE_STD
    np.testing.assert_allclose(losses.lines[1].get_xydata(), np.array(playground.history)[:, [0, 2]])
    plt.close(figure)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "circle"}, "data is 'circle'; expected one of ring, bar"),
        ({"loss": "mse"}, "loss is 'mse'; expected one of non_saturating"),
        ({"penalty": "r2"}, "penalty is 'r2'; expected one of None"),
        ({"width": 0}, "width is 0; expected at least 1"),
        ({"depth": 0}, "depth is 0; expected at least 1"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"generator_rate": -1.0}, "generator_rate is -1"),
        ({"discriminator_rate": float("nan")}, "discriminator_rate is nan"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Playground(**SMALL | settings)


def test_an_invalid_change_is_refused_and_keeps_the_state(playground):
    playground.step(5)
    with pytest.raises(ValueError, match="setting is 'colour'; expected one of data, loss"):
        playground.change(colour="red")
    with pytest.raises(ValueError, match="loss is"):
        playground.change(data="bar", loss="mse")
    with pytest.raises(ValueError, match="n is 0"):
        playground.step(0)
    with pytest.raises(ValueError, match="n is 2001; expected at most 2000"):
        playground.generated_points(2001)
    assert (playground.steps, playground.data) == (5, "ring")
