"""A GAN in the plane to play with: every choice has a name, both learning rates may change at any step, all can be seen."""

import itertools

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops
from scipy.spatial import KDTree
from scipy.special import expit

from imggen_lib import _validation as validate
from imggen_lib import backend
from imggen_lib.models.gan import GAN, frozen_call
from imggen_lib.models.gan.losses import LOSSES, PENALTIES
from imggen_lib.training.callbacks import Diverged

#: The width of every line and heap of the data, as a standard deviation.
SPREAD = 0.1
#: Everything is drawn, and all data lie, within this distance of the origin along both axes.
EXTENT = 2.6
#: Each penalty with its usual weight in games of this size.
PENALTY_WEIGHTS = {None: 0.0, "gradient": 1.0, "r1": 0.1}


def _ring(n, rng):
    return _circle(rng.uniform(0, 2 * np.pi, n), 1.5)


def _circle(angle, radius):
    return np.transpose(radius * np.stack([np.cos(angle), np.sin(angle)]))


def _bar(n, rng):
    return np.outer(rng.uniform(-1.8, 1.8, n), [0.8, 0.6])


def _two_moons(n, rng):
    angle, side = rng.uniform(0, np.pi, n), rng.choice([-1, 1], n)
    return side[:, np.newaxis] * (_circle(angle, 1.2) - [0.6, 0.3])


def _spiral(n, rng):
    way = np.sqrt(rng.uniform(0.03, 1, n))
    return _circle(3 * np.pi * way, 2.1 * way)


def _heaps(side, step):
    return lambda n, rng: step * (rng.integers(side, size=(n, 2)) - (side - 1) / 2)


#: What the real points follow, by name: functions of how many and a generator, before the spread.
SOURCES = {
    "ring": _ring,
    "bar": _bar,
    "two moons": _two_moons,
    "spiral": _spiral,
    "nine heaps": _heaps(3, 1.5),
    "twenty-five heaps": _heaps(5, 1.0),
}


def real_points(data, n, rng):
    """Draw points of one of the sources.

    Parameters
    ----------
    data : str
        A name in ``SOURCES``.
    n : int
    rng : numpy.random.Generator or seed

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 2)``.

    Raises
    ------
    ValueError
        If there is no such source, or n is not positive.

    Examples
    --------
    >>> points = real_points("ring", 1000, 0)
    >>> print(f"{np.linalg.norm(points, axis=1).mean():.1f}")
    1.5
    """
    source, rng = SOURCES[validate.choice(data, "data", SOURCES)], np.random.default_rng(rng)
    points = source(validate.integer(n, "n"), rng)
    return (points + SPREAD * rng.standard_normal(points.shape)).astype("float32")


class TwoRates(keras.optimizers.Adam):
    """Adam with a second learning rate, ``discriminator_rate``, for the variables whose path begins with discriminator.

    Both are variables: assigning to them compiles nothing anew. (From Keras 3.15 on ``keras.optimizers.MultiOptimizer``
    does as much with two optimizers; this also runs on those before it.)

    Examples
    --------
    >>> optimizer = TwoRates(beta_1=0.5)
    >>> float(optimizer.discriminator_rate)
    0.0
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.discriminator_rate = self.add_variable((), name="discriminator_rate")

    def build(self, variables):
        """Make the moments of all variables, and note whose they are."""
        self._of_discriminator = [variable.path.startswith("discriminator") for variable in variables]
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """Move one variable, at its player's rate."""
        second = self._of_discriminator[self._get_variable_index(variable)]
        super().update_step(gradient, variable, self.discriminator_rate if second else learning_rate)


class Playground:
    """A game of two small networks in the plane: choose, step, look, choose again.

    Games that differ in their loss, penalty or networks are compiled once each, in their first step, and kept.

    Parameters
    ----------
    data : str
        A name in ``SOURCES``.
    loss, penalty : str
        Names in :data:`imggen_lib.models.gan.losses.LOSSES` and ``PENALTIES``; a penalty may be None.
    width, depth : int
        Units in each hidden layer of both networks, and how many such layers each has.
    generator_rate, discriminator_rate : float
        Learning rates. They may be assigned to at any time, without a new beginning; 0 keeps a player as it is.
    seed : int
        Of the first weights, the latent vectors and the data. Equal seeds and equal calls of :meth:`step` play the same
        game, up to rounding, which a long game may enlarge.

    Attributes
    ----------
    steps : int
        How many have been made.
    history : list of tuple
        ``(steps, generator's loss, discriminator's loss)``: means over the twenty or fewer steps that end there.

    Raises
    ------
    ValueError
        If a name is unknown or a number out of range.

    Examples
    --------
    >>> playground = Playground("ring", width=8, depth=1)
    >>> playground.step(10)
    >>> playground.steps, playground.generated().shape
    (10, (2000, 2))
    """

    #: Real points, and generated ones, in each step.
    BATCH = 64
    #: Steps that are compiled as one.
    GROUP = 20

    def __init__(
        self, data="ring", *, loss="non_saturating", penalty=None, width=32, depth=2, generator_rate=2e-3,
        discriminator_rate=2e-3, seed=0,
    ):  # fmt: skip
        self._games, self.gan = {}, None
        self.generator_rate, self.discriminator_rate = generator_rate, discriminator_rate
        self.change(data=data, loss=loss, penalty=penalty, width=width, depth=depth, seed=seed)

    def change(self, **choices):
        """Choose other ``data``, ``loss``, ``penalty``, ``width``, ``depth`` or ``seed``, and begin anew.

        Raises ``ValueError``, and leaves the game alone, if there is no such choice.
        """
        allowed = {"data": SOURCES, "loss": LOSSES, "penalty": PENALTIES, "width": None, "depth": None, "seed": None}
        for name, value in choices.items():
            if allowed[validate.choice(name, "choice", allowed)] is not None:
                validate.choice(value, name, allowed[name])
            else:
                validate.integer(value, name, minimum=0 if name == "seed" else 1)
        vars(self).update(choices)
        self.reset()

    def reset(self):
        """Begin anew: the first weights, no moments, the first latent vectors and data. The rates stay as they are."""
        key = self.loss, self.penalty, self.width, self.depth
        start = self._new_game()
        self.gan = self._games.setdefault(key, start)
        for variable, value in zip(self.gan.variables, start.variables, strict=True):
            variable.assign(value.value)
        for variable in self.gan.optimizer.variables:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
        self.generator_rate, self.discriminator_rate = self.generator_rate, self.discriminator_rate
        self.steps, self.history = 0, []
        self._data = np.random.default_rng(self.seed)
        self._latent = np.random.default_rng([self.seed, 1]).standard_normal((2000, 2)).astype("float32")

    def _new_game(self):
        seeds = itertools.count(1000 * self.seed)

        def network(outputs, name):
            point = x = keras.Input((2,))
            for index in range(self.depth + 1):
                first = keras.initializers.GlorotUniform(seed=next(seeds))
                last = index == self.depth
                x = layers.Dense(outputs if last else self.width, kernel_initializer=first, name=f"{name}_{index}")(x)
                x = x if last else layers.LeakyReLU(0.2)(x)
            return keras.Model(point, x)

        options = {"loss": self.loss, "penalty": self.penalty, "penalty_weight": PENALTY_WEIGHTS[self.penalty]}
        gan = GAN(network(2, "generator"), network(1, "discriminator"), ema_momentum=0.99, seed=self.seed, **options)
        gan.compile(optimizer=TwoRates(beta_1=0.5), steps_per_execution=self.GROUP)
        gan.optimizer.build(gan.trainable_variables)
        return gan

    @property
    def generator_rate(self):
        """The generator's learning rate."""
        return self._generator_rate

    @generator_rate.setter
    def generator_rate(self, rate):
        self._generator_rate = validate.real(rate, "generator_rate", minimum=0)
        if self.gan is not None:
            self.gan.optimizer.learning_rate = self._generator_rate

    @property
    def discriminator_rate(self):
        """The discriminator's learning rate."""
        return self._discriminator_rate

    @discriminator_rate.setter
    def discriminator_rate(self, rate):
        self._discriminator_rate = validate.real(rate, "discriminator_rate", minimum=0)
        if self.gan is not None:
            self.gan.optimizer.discriminator_rate.assign(self._discriminator_rate)

    def step(self, n=1):
        """Make n training steps. Raises ``Diverged``, with the game as it was before them, if a number is none after."""
        state = self._data.bit_generator.state
        real = real_points(self.data, validate.integer(n, "n") * self.BATCH, self._data)
        variables = [*self.gan.variables, *self.gan.optimizer.variables]
        before = [ops.convert_to_numpy(variable).copy() for variable in variables]
        losses = _Losses(n)
        self.gan.fit(real, batch_size=self.BATCH, shuffle=False, verbose=0, callbacks=[losses])
        if not all(np.isfinite(ops.convert_to_numpy(variable)).all() for variable in variables):
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            self._data.bit_generator.state = state
            raise Diverged(
                f"the game diverged between steps {self.steps} and {self.steps + n}, and is as it was before them: turn "
                "the learning rates down, choose a penalty, or begin anew"
            )
        self.history += [(self.steps + step, *means) for step, *means in losses.means]
        self.steps += n

    def generated(self, n=2000):
        """Return the generator's points ``(n, 2)`` for the first n of 2,000 latent vectors, the same each time.

        Raises ``ValueError`` for more than 2,000.
        """
        if validate.integer(n, "n") > len(self._latent):
            raise ValueError(f"n is {n}; expected at most {len(self._latent)}")
        latent = self._latent[:n]
        return ops.convert_to_numpy(self.gan.generator(latent))

    def field(self, points):
        """Return how real the discriminator finds points ``(n, 2)``: ``(n,)`` values in [0, 1].

        They are the sigmoid of its logits. A Wasserstein critic's marks have neither a zero nor a unit, so theirs are
        counted from the mean over the points, in standard deviations.
        """
        points = validate.real_array(points, "points", ndim=2).astype("float32")
        marks = ops.convert_to_numpy(self.gan.discriminator(points))[:, 0]
        if self.loss == "wasserstein":
            marks = (marks - marks.mean()) / (marks.std() + 1e-12)
        return expit(marks)

    def pushes(self, points):
        """Return which way the generator's loss pushes points ``(n, 2)``, and how hard: minus its gradient, ``(n, 2)``."""
        points = ops.convert_to_tensor(validate.real_array(points, "points", ndim=2).astype("float32"))
        of_generator, _ = LOSSES[self.loss]

        def loss(points):
            return len(points) * of_generator(frozen_call(self.gan.discriminator, points, training=False))

        return -ops.convert_to_numpy(backend.input_gradient(loss, points))

    def score(self):
        """Return the share of generated points that are close to real ones, and of real ones that are close to generated.

        Close is within :data:`SPREAD`; 2,000 points of each kind. Real points in the generator's place score 0.98 or more
        twice: some always lie alone.
        """
        real, fake = real_points(self.data, 2000, [self.seed, 2]), self.generated()
        close, covered = KDTree(real).query(fake)[0] < SPREAD, KDTree(fake).query(real)[0] < SPREAD
        return float(close.mean()), float(covered.mean())

    def describe(self):
        """Return in words what the picture shows."""
        close, covered = self.score()
        text = f"Step {self.steps:,}: {close:.0%} of generated points are close to real ones, {covered:.0%} of real ones "
        text += "are covered"
        if self.history:
            _, generator, discriminator = self.history[-1]
            text += f"; loss of the generator {generator:,.2f}, of the discriminator {discriminator:,.2f}"
        return f"{text}."

    def paint(self, axes, *, n=200, arrows=30):
        """Paint the game on matplotlib axes: the field as ground, real points, generated ones, pushes on some of those."""
        line = np.linspace(-EXTENT, EXTENT, 61)
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        field = self.field(grid).reshape(61, 61)
        look = {"cmap": "PuOr_r", "vmin": -0.2, "vmax": 1.2, "origin": "lower", "interpolation": "bilinear"}
        axes.imshow(field, extent=[-EXTENT, EXTENT, -EXTENT, EXTENT], **look)
        axes.contour(line, line, field, [0.5], colors="black", linewidths=0.8)
        real, fake = real_points(self.data, n, [self.seed, 2]), self.generated(n)
        axes.plot(*real.T, ".", color="black", markersize=2.5)
        axes.plot(*fake.T, "x", color="C0", markersize=4)
        if arrows:
            push = self.pushes(fake[:arrows])
            # The longest arrow is one unit, so that directions can be seen whatever the force.
            longest = np.linalg.norm(push, axis=1).max() + 1e-12
            style = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.007, "color": "C0"}
            axes.quiver(*fake[:arrows].T, *push.T / longest, **style)
        axes.grid(False)
        axes.spines[:].set(visible=True, linewidth=0.5)
        axes.set(aspect="equal", xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), xticks=[], yticks=[])

    def draw(self):
        """Return a new figure: the game, and both losses so far."""
        # Fixed margins: to find the best ones takes as long as to draw.
        figure, (game, losses) = plt.subplots(1, 2, figsize=(7, 3.5), width_ratios=[4, 5], layout="none")
        figure.subplots_adjust(left=0.01, right=0.98, bottom=0.14, top=0.91, wspace=0.22)
        self.paint(game)
        game.set(title=f"step {self.steps:,}")
        if self.history:
            steps, *curves = np.transpose(self.history)
            for curve, name, style in zip(curves, ("generator", "discriminator"), ("C0-", "C1--"), strict=True):
                losses.plot(steps, curve, style, label=name)
            losses.legend()
        losses.set(xlabel="step", title="loss")
        return figure


class _Losses(keras.callbacks.Callback):
    """Means of both losses over each group of steps, from Keras's means over all steps so far."""

    def __init__(self, n):
        super().__init__()
        self.n, self.means, self.before = n, [], (0, np.zeros(2))

    def on_train_batch_end(self, batch, logs=None):
        # Keras counts a last group that is not full as if it were.
        steps = min(batch + 1, self.n)
        total = steps * np.array([logs["generator_loss"], logs["discriminator_loss"]])
        self.means.append((steps, *((total - self.before[1]) / (steps - self.before[0])).tolist()))
        self.before = steps, total
