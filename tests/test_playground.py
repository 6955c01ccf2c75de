import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import ops
from scipy.special import expit

from imggen_lib.training.callbacks import Diverged
from imggen_lib.models.gan.losses import LOSSES
from imggen_lib.notebook.playground import EXTENT, Playground, SOURCES, SPREAD, TwoRates, _Losses, real_points

SMALL = {"width": 8, "depth": 1}


@pytest.fixture(scope="module")
def inference_function():
    """A playground that has made its first step, so that further ones take no time."""
    playground = Playground(**SMALL)
    playground.step()
    return playground


@pytest.fixture
def playground(compiled):
    compiled.generator_rate = compiled.discriminator_rate = 2e-3
    compiled.change(data="ring", loss="non_saturating", penalty=None, seed=0, **SMALL)
    return compiled


def linear(slope, offset=0.0, loss="non_saturating"):
    """A playground whose discriminator's logit is a straight line, and which has made no step."""
    playground = Playground(loss=loss, width=2, depth=1)
    # A leaky ReLU of x less that of -x is 1.2 x.
    first = np.outer(slope, [1, -1])
    last = np.array([[1], [-1]]) / 1.2
    playground.gan.discriminator.set_weights([first, np.zeros(2), last, np.array([offset])])
    return playground


def weights(network):
    return [ops.convert_to_numpy(variable).copy() for variable in network.weights]


def state(playground):
    variables = [*playground.gan.variables, *playground.gan.optimizer.variables]
    return [ops.convert_to_numpy(variable).copy() for variable in variables]


def same(ones, others):
    return all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("data", SOURCES)
def test_a_source_stays_on_the_stage_and_follows_its_seed(data):
    points = real_points(data, 5000, 0)
    assert points.shape == (5000, 2) and points.dtype == "float32"
    assert np.abs(points).max() < EXTENT
    np.testing.assert_array_equal(points, real_points(data, 5000, np.random.default_rng(0)))
    # What is balanced about the origin has its mean there.
    if data != "spiral":
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.1)


def test_the_sources_are_what_their_names_say():
    radii = np.linalg.norm(real_points("ring", 5000, 0), axis=1)
    assert np.isclose(radii.mean(), 1.5, atol=0.02) and np.isclose(radii.std(), SPREAD, atol=0.01)
    across = real_points("bar", 5000, 0) @ [-0.6, 0.8]
    assert np.isclose(across.std(), SPREAD, atol=0.01)
    for data, side, step in (("nine heaps", 3, 1.5), ("twenty-five heaps", 5, 1.0)):
        points = real_points(data, 5000, 0) / step + (side - 1) / 2
        assert len(np.unique(points.round(), axis=0)) == side**2
        assert np.isclose((points - points.round()).std() * step, SPREAD, atol=0.01)
    for data in ("two moons", "spiral"):
        # A curve: most of the square is empty.
        cells = np.histogram2d(*real_points(data, 5000, 0).T, bins=26, range=[[-EXTENT, EXTENT]] * 2)[0]
        assert (cells > 0).mean() < 0.4


def test_the_field_is_the_sigmoid_of_the_logits():
    points = np.random.default_rng(0).normal(size=(50, 2))
    expected = expit(points @ [2.0, -1.0] + 0.5)
    np.testing.assert_allclose(linear([2.0, -1.0], 0.5).field(points), expected, rtol=1e-4)
    untrained = Playground(**SMALL)
    logits = ops.convert_to_numpy(untrained.gan.discriminator(points.astype("float32")))
    np.testing.assert_allclose(untrained.field(points), expit(logits[:, 0]), rtol=1e-5)


def test_the_field_of_a_wasserstein_critic_knows_neither_shift_nor_scale():
    points = np.random.default_rng(0).normal(size=(50, 2))
    one, other = linear([1.0, 2.0], loss="wasserstein"), linear([300.0, 600.0], 7.0, loss="wasserstein")
    np.testing.assert_allclose(one.field(points), other.field(points), atol=1e-4)
    assert 0.4 < one.field(points).mean() < 0.6


@pytest.mark.parametrize("loss", LOSSES)
def test_the_push_on_a_point_is_minus_the_slope_of_the_generators_loss(loss):
    points = np.random.default_rng(0).normal(size=(20, 2))
    slope = np.array([2.0, -1.0])
    D = expit(points @ slope)
    force = {"non_saturating": 1 - D, "minimax": D}.get(loss, np.ones(20))
    np.testing.assert_allclose(linear(slope, loss=loss).pushes(points), np.outer(force, slope), rtol=1e-4)

    bent = Playground(loss=loss, **SMALL)
    of_generator, _ = LOSSES[loss]

    def value(point):
        return float(of_generator(bent.gan.discriminator(point[np.newaxis].astype("float32"))))

    for point, push in zip(points[:5], bent.pushes(points[:5]), strict=True):
        differences = [-(value(point + step) - value(point - step)) / 2e-2 for step in 1e-2 * np.eye(2)]
        np.testing.assert_allclose(push, differences, atol=0.02)


def test_two_rates_that_are_equal_are_adam_and_others_are_two_adams():
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
            optimizer = TwoRates(rate, beta_1=beta_1)
            optimizer.discriminator_rate.assign(discriminator_rate)
        for _ in range(3):
            optimizer.apply(gradients, moved)
        return [ops.convert_to_numpy(variable) for variable in moved]

    slow, fast, both = after(0.01), after(0.1), after(0.01, 0.1)
    np.testing.assert_allclose(after(0.01, 0.01), slow, rtol=1e-6)
    np.testing.assert_allclose(both, [slow[0], fast[1], slow[2]], rtol=1e-6)


@pytest.mark.parametrize(("still", "moving"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_a_rate_of_zero_freezes_that_player_alone(playground, still, moving):
    setattr(playground, f"{still}_rate", 0)
    networks = {name: getattr(playground.gan, name) for name in (still, moving)}
    before = {name: weights(network) for name, network in networks.items()}
    playground.step(20)
    assert same(before[still], weights(networks[still]))
    changes = [not np.array_equal(*pair) for pair in zip(before[moving], weights(networks[moving]), strict=True)]
    assert all(changes)


def test_a_rate_moves_without_a_new_beginning_and_nothing_is_compiled_anew(playground):
    playground.step(5)
    function, before = playground.gan.train_function, state(playground)
    playground.generator_rate, playground.discriminator_rate = 0, 0.0
    assert playground.steps == 5 and playground.gan.train_function is function
    optimizer = playground.gan.optimizer
    assert float(optimizer.learning_rate) == float(optimizer.discriminator_rate) == 0
    players = [*playground.gan.generator.weights, *playground.gan.discriminator.weights]
    held = [ops.convert_to_numpy(variable).copy() for variable in players]
    playground.step(5)
    assert playground.gan.train_function is function
    assert same(held, [ops.convert_to_numpy(variable) for variable in players])
    assert not same(before, state(playground))


def alike(ones, others):
    """The share of numbers that agree. Rounding may differ from run to run, and early steps of Adam can enlarge it."""
    pairs = zip(ones, others, strict=True)
    return np.mean(np.concatenate([np.isclose(one, other, atol=5e-4).ravel() for one, other in pairs]))


def test_reset_and_equal_seeds_give_the_same_game(playground):
    start, points = state(playground), playground.generated()
    playground.step(5)
    end, history = state(playground), playground.history
    assert not same(start, end)
    playground.reset()
    assert same(start, state(playground)) and (playground.steps, playground.history) == (0, [])
    np.testing.assert_array_equal(points, playground.generated())
    playground.step(5)
    assert alike(end, state(playground)) > 0.9
    np.testing.assert_allclose(history, playground.history, rtol=1e-2)

    other = Playground(**SMALL)
    assert same(start, state(other)) and np.array_equal(points, other.generated())
    playground.change(seed=1)
    assert not np.array_equal(points, playground.generated())
    assert alike(weights(other.gan.generator), weights(playground.gan.generator)) < 0.5


def test_reset_keeps_the_rates(playground):
    playground.generator_rate = 0.01
    playground.reset()
    assert np.isclose(float(playground.gan.optimizer.learning_rate), 0.01)
    assert np.isclose(float(playground.gan.optimizer.discriminator_rate), 0.002)


def test_a_game_that_comes_back_is_not_compiled_again(playground):
    gan = playground.gan
    playground.change(loss="hinge", width=4)
    assert playground.gan is not gan and playground.gan.game == "hinge"
    assert playground.gan.discriminator.layers[1].units == 4
    playground.change(data="bar", **SMALL, loss="non_saturating")
    assert playground.gan is gan and playground.steps == 0


def test_the_history_holds_means_over_groups_of_steps(playground):
    playground.step(50)
    playground.step(10)
    assert [steps for steps, *_ in playground.history] == [20, 40, 50, 60]
    # Nobody has learned much in twenty steps: log 2, and twice that.
    np.testing.assert_allclose(playground.history[0][1:], [np.log(2), 2 * np.log(2)], atol=0.3)

    losses = _Losses(50)
    losses.on_train_begin()
    each = np.arange(1, 51)
    # Keras tells means over all steps so far, and counts the last group as full.
    for batch, so_far in ((19, 20), (39, 40), (59, 50)):
        mean = each[:so_far].mean()
        losses.on_train_batch_end(batch, {"generator_loss": mean, "discriminator_loss": -mean})
    np.testing.assert_allclose(losses.means, [(20, 10.5, -10.5), (40, 30.5, -30.5), (50, 45.5, -45.5)])


def test_a_game_that_diverges_says_so_and_is_as_it_was(playground):
    playground.step(5)
    before, data = weights(playground.gan), playground._data.bit_generator.state
    playground.discriminator_rate = playground.generator_rate = 1e30
    with pytest.raises(Diverged, match="between steps 5 and 25.*learning rates down"):
        playground.step(20)
    assert playground.steps == 5 and same(before, weights(playground.gan))
    assert playground._data.bit_generator.state == data


def test_the_score_of_points_that_are_real_of_one_heap_and_of_none(playground, monkeypatch):
    playground.change(data="nine heaps")
    rng = np.random.default_rng(1)
    for points, (close, covered) in {
        "real": (real_points("nine heaps", 2000, rng), (0.99, 0.99)),
        "one": (SPREAD * rng.standard_normal((2000, 2)), (0.99, 1 / 9)),
        "none": (np.full((2000, 2), 0.75), (0, 0)),
    }.values():
        monkeypatch.setattr(playground, "generated", lambda points=points: points)
        np.testing.assert_allclose(playground.score(), [close, covered], atol=0.02)
    assert "0% of generated points" in playground.describe()


def test_the_picture_shows_the_game_and_its_losses(playground):
    playground.step(40)
    figure = playground.draw()
    game, losses = figure.axes
    real, fake = game.lines
    np.testing.assert_array_equal(fake.get_xydata(), playground.generated(len(fake.get_xydata())))
    assert np.abs(np.linalg.norm(real.get_xydata(), axis=1) - 1.5).max() < 5 * SPREAD
    np.testing.assert_allclose(losses.lines[1].get_xydata(), np.array(playground.history)[:, [0, 2]])
    plt.close(figure)


@pytest.mark.parametrize(
    ("choices", "message"),
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
def test_a_choice_that_there_is_not_is_named(choices, message):
    with pytest.raises(ValueError, match=message):
        Playground(**SMALL | choices)


def test_what_cannot_be_changed_is_named_and_leaves_the_game_alone(playground):
    playground.step(5)
    with pytest.raises(ValueError, match="choice is 'colour'; expected one of data, loss"):
        playground.change(colour="red")
    with pytest.raises(ValueError, match="loss is"):
        playground.change(data="bar", loss="mse")
    with pytest.raises(ValueError, match="n is 0"):
        playground.step(0)
    with pytest.raises(ValueError, match="n is 2001; expected at most 2000"):
        playground.generated(2001)
    assert (playground.steps, playground.data) == (5, "ring")
