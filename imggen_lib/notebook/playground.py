"""A GAN on two-dimensional points: its settings have names, and both learning rates can be changed during training."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.special import expit

from imggen_lib import _validation as validate
from imggen_lib import backend
from imggen_lib.models.gan import GAN, LOSSES, PENALTIES, frozen_call
from imggen_lib.models.gan.losses import generator_loss_by_name
from imggen_lib.training.callbacks import Diverged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["EXTENT", "NOISE_STD", "PENALTY_WEIGHTS", "SOURCES", "Playground", "TwoRateAdam", "real_points"]

Array = NDArray[np.floating]
Source = Callable[[int, np.random.Generator], Array]

#: Standard deviation of the Gaussian noise that is added to every real point.
NOISE_STD = 0.1
#: Both coordinates of all real points lie in [-EXTENT, EXTENT], which is also the part of the plane that is plotted.
EXTENT = 2.6
#: The weight of each penalty in the loss.
PENALTY_WEIGHTS: dict[str | None, float] = {None: 0.0, "gradient": 1.0, "r1": 0.1, "r1_r2": 0.1}


def _circle(angle: Array, radius: Array | float) -> Array:
    return np.transpose(radius * np.stack([np.cos(angle), np.sin(angle)]))


def _ring(n: int, rng: np.random.Generator) -> Array:
    return _circle(rng.uniform(0, 2 * np.pi, n), 1.5)


def _bar(n: int, rng: np.random.Generator) -> Array:
    return np.outer(rng.uniform(-1.8, 1.8, n), [0.8, 0.6])


def _two_moons(n: int, rng: np.random.Generator) -> Array:
    angle, side = rng.uniform(0, np.pi, n), rng.choice([-1, 1], n)
    return side[:, np.newaxis] * (_circle(angle, 1.2) - [0.6, 0.3])


def _spiral(n: int, rng: np.random.Generator) -> Array:
    # With the square root, the density along the curve is nearly constant.
    fraction = np.sqrt(rng.uniform(0.03, 1, n))
    return _circle(3 * np.pi * fraction, 2.1 * fraction)


def _clusters(side: int, distance: float) -> Source:
    """Return a source whose points are the nodes of a square grid with ``side`` nodes along each axis."""
    return lambda n, rng: distance * (rng.integers(side, size=(n, 2)) - (side - 1) / 2)


#: The sources of real points by name: functions of n and a random generator that return ``(n, 2)``, without noise.
SOURCES: dict[str, Source] = {
    "ring": _ring,
    "bar": _bar,
    "two moons": _two_moons,
    "spiral": _spiral,
    "nine clusters": _clusters(3, 1.5),
    "twenty-five clusters": _clusters(5, 1.0),
}


def real_points(data: str, n: int, rng: int | list[int] | np.random.Generator) -> NDArray[np.float32]:
    """Sample real points from one of the sources, with Gaussian noise of standard deviation :data:`NOISE_STD`.

    Parameters
    ----------
    data : str
        A name in :data:`SOURCES`.
    n : int
        Number of points.
    rng : numpy.random.Generator or seed

    Returns
    -------
    numpy.ndarray
        float32 ``(n, 2)``, both coordinates in [-:data:`EXTENT`, :data:`EXTENT`].

    Raises
    ------
    ValueError
        If there is no such source, or n is not positive.

    Examples
    --------
    The points of the ring lie at a distance of 1.5 from the origin, with a standard deviation of 0.1:

    >>> radius = np.linalg.norm(real_points("ring", 1000, 0), axis=1)
    >>> print(f"{radius.mean():.1f} {radius.std():.1f}")
    1.5 0.1
    """
    source, rng = SOURCES[validate.choice(data, "data", SOURCES)], np.random.default_rng(rng)
    points = source(validate.integer(n, "n"), rng)
    return (points + NOISE_STD * rng.standard_normal(points.shape)).astype("float32")


class TwoRateAdam(keras.optimizers.Adam):
    """Adam with a second learning rate for the variables whose path begins with ``discriminator``.

    Both rates are variables, so a new value takes effect without compiling the training step again. From Keras 3.15 on,
    ``keras.optimizers.MultiOptimizer`` does the same with two optimizers; this class also works with earlier versions.

    Attributes
    ----------
    discriminator_rate : keras.Variable
        The second rate, 0 at first.

    References
    ----------
    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017.

    Examples
    --------
    Adam's first step has the size of the learning rate, whatever the gradient:

    >>> weights = [keras.Variable([0.0], name=name) for name in ("generator", "discriminator")]
    >>> optimizer = TwoRateAdam(0.1)
    >>> _ = optimizer.discriminator_rate.assign(0.5)
    >>> optimizer.apply([ops.ones(1), ops.ones(1)], weights)
    >>> [round(float(weight[0]), 3) for weight in weights]
    [-0.1, -0.5]
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.discriminator_rate: Any = self.add_variable((), name="discriminator_rate")

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the moments of all variables, and mark the variables that the second rate applies to."""
        self._of_discriminator = [variable.path.startswith("discriminator") for variable in variables]
        super().build(variables)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Update one variable with the learning rate of its network."""
        second = self._of_discriminator[self._get_variable_index(variable)]
        super().update_step(gradient, variable, self.discriminator_rate if second else learning_rate)


class Playground:
    """Train a GAN of two small networks on points in the plane, a few steps at a time, and plot its state.

    Models that differ in loss, penalty or networks are each compiled once, in their first step, and kept.

    Parameters
    ----------
    data : str
        A name in :data:`SOURCES`.
    loss, penalty : str
        Names in :data:`imggen_lib.models.gan.losses.LOSSES` and :data:`~imggen_lib.models.gan.losses.PENALTIES`. The
        penalty may be None.
    width, depth : int
        Units of each hidden layer of both networks, and number of hidden layers of each.
    generator_rate, discriminator_rate : float
        Learning rates. Both can be assigned to at any time, and training continues; a network with rate 0 does not change.
    seed : int
        Of the initial weights, the latent vectors and the data. The same seed and the same calls of :meth:`step` give the
        same training, up to rounding errors, which may grow over many steps.

    Attributes
    ----------
    steps : int
        Number of training steps so far.
    history : list of tuple
        ``(steps, generator loss, discriminator loss)``: means over the last :attr:`STEPS_PER_EXECUTION` steps or fewer.
    gan : imggen_lib.models.gan.model.GAN
        The model that is trained.

    Raises
    ------
    ValueError
        If a name is unknown or a number is out of range.

    Examples
    --------
    >>> playground = Playground("ring", width=8, depth=1)
    >>> playground.step(10)
    >>> playground.steps, playground.generated_points().shape
    (10, (2000, 2))
    """

    data: str
    loss: str
    penalty: str | None
    width: int
    depth: int
    seed: int
    gan: GAN
    steps: int
    history: list[tuple[float, ...]]

    #: Real points, and generated points, in each step.
    BATCH_SIZE = 64
    #: Training steps that are compiled as one.
    STEPS_PER_EXECUTION = 20

    def __init__(
        self,
        data: str = "ring",
        *,
        loss: str = "non_saturating",
        penalty: str | None = None,
        width: int = 32,
        depth: int = 2,
        generator_rate: float = 2e-3,
        discriminator_rate: float = 2e-3,
        seed: int = 0,
    ) -> None:
        self._models: dict[tuple[Any, ...], GAN] = {}
        self.generator_rate = generator_rate
        self.discriminator_rate = discriminator_rate
        self.change(data=data, loss=loss, penalty=penalty, width=width, depth=depth, seed=seed)

    def change(self, **settings: Any) -> None:
        """Change ``data``, ``loss``, ``penalty``, ``width``, ``depth`` or ``seed``, and start training from the beginning.

        Raises ``ValueError``, without any change, if a name or value is invalid.
        """
        allowed: dict[str, Any] = {
            "data": SOURCES,
            "loss": LOSSES,
            "penalty": PENALTIES,
            "width": None,
            "depth": None,
            "seed": None,
        }
        for name, value in settings.items():
            if allowed[validate.choice(name, "setting", allowed)] is not None:
                validate.choice(value, name, allowed[name])
            else:
                validate.integer(value, name, minimum=0 if name == "seed" else 1)
        vars(self).update(settings)
        self.reset()

    def reset(self) -> None:
        """Start training from the beginning, with the same settings and the present learning rates."""
        key = self.loss, self.penalty, self.width, self.depth
        start = self._new_model()
        self.gan = self._models.setdefault(key, start)
        for variable, value in zip(self.gan.variables, start.variables, strict=True):
            variable.assign(value.value)
        for variable in self.gan.optimizer.variables:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
        self._apply_rates()
        self.steps = 0
        self.history = []
        self._rng = np.random.default_rng(self.seed)
        self._latent = np.random.default_rng([self.seed, 1]).standard_normal((2000, 2)).astype("float32")

    def _new_model(self) -> GAN:
        seeds = itertools.count(1000 * self.seed)

        def network(outputs: int, name: str) -> keras.Model:
            point = x = keras.Input((2,))
            for index in range(self.depth + 1):
                initializer = keras.initializers.GlorotUniform(seed=next(seeds))
                last = index == self.depth
                units = outputs if last else self.width
                x = layers.Dense(units, kernel_initializer=initializer, name=f"{name}_{index}")(x)
                x = x if last else layers.LeakyReLU(0.2)(x)
            return keras.Model(point, x)

        gan = GAN(
            network(2, "generator"),
            network(1, "discriminator"),
            loss=self.loss,
            penalty=self.penalty,
            penalty_weight=PENALTY_WEIGHTS[self.penalty],
            ema_momentum=0.99,
            seed=self.seed,
        )
        gan.compile(optimizer=TwoRateAdam(beta_1=0.5), steps_per_execution=self.STEPS_PER_EXECUTION)
        gan.optimizer.build(gan.trainable_variables)
        return gan

    @property
    def generator_rate(self) -> float:
        """Learning rate of the generator."""
        return self._generator_rate

    @generator_rate.setter
    def generator_rate(self, rate: float) -> None:
        self._generator_rate = validate.real(rate, "generator_rate", minimum=0)
        self._apply_rates()

    @property
    def discriminator_rate(self) -> float:
        """Learning rate of the discriminator."""
        return self._discriminator_rate

    @discriminator_rate.setter
    def discriminator_rate(self, rate: float) -> None:
        self._discriminator_rate = validate.real(rate, "discriminator_rate", minimum=0)
        self._apply_rates()

    def _apply_rates(self) -> None:
        if hasattr(self, "gan"):
            self.gan.optimizer.learning_rate = self._generator_rate
            self.gan.optimizer.discriminator_rate.assign(self._discriminator_rate)

    def step(self, n: int = 1) -> None:
        """Make n training steps.

        Raises ``Diverged`` if a weight becomes NaN or infinite; the state from before the n steps is then restored.
        """
        rng_state = self._rng.bit_generator.state
        real = real_points(self.data, validate.integer(n, "n") * self.BATCH_SIZE, self._rng)
        variables = [*self.gan.variables, *self.gan.optimizer.variables]
        before = [ops.convert_to_numpy(variable).copy() for variable in variables]
        losses = _MeanLosses(n)
        self.gan.fit(real, batch_size=self.BATCH_SIZE, shuffle=False, verbose=0, callbacks=[losses])
        if not all(np.isfinite(ops.convert_to_numpy(variable)).all() for variable in variables):
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            self._rng.bit_generator.state = rng_state
            raise Diverged(
                f"training diverged between steps {self.steps} and {self.steps + n}; the state of step {self.steps} is "
                "restored. Use lower learning rates, choose a penalty, or reset"
            )
        self.history += [(self.steps + step, *means) for step, *means in losses.means]
        self.steps += n

    def generated_points(self, n: int = 2000) -> Array:
        """Return the generator's output ``(n, 2)`` for the first n of 2,000 fixed latent vectors.

        Raises ``ValueError`` if n is larger than 2,000.
        """
        if validate.integer(n, "n") > len(self._latent):
            raise ValueError(f"n is {n}; expected at most {len(self._latent)}")
        return ops.convert_to_numpy(self.gan.generator(self._latent[:n]))

    def real_probability(self, points: ArrayLike) -> Array:
        """Return the discriminator's probability that each point is real.

        It is the sigmoid of the logit. The output of a Wasserstein critic has no zero and no unit, and that of a
        discriminator that compares pairs has no zero. Both are standardised over the given points first.

        Parameters
        ----------
        points : array_like
            ``(n, 2)``.

        Returns
        -------
        numpy.ndarray
            ``(n,)`` in [0, 1].
        """
        points = validate.real_array(points, "points", ndim=2).astype("float32")
        logits = ops.convert_to_numpy(self.gan.discriminator(points))[:, 0]
        if self.loss in ("wasserstein", "relativistic"):
            logits = (logits - logits.mean()) / (logits.std() + 1e-12)
        return expit(logits)

    def descent_directions(self, points: ArrayLike) -> Array:
        """Return minus the gradient of the generator's loss with respect to each generated point.

        Parameters
        ----------
        points : array_like
            ``(n, 2)``.

        Returns
        -------
        numpy.ndarray
            ``(n, 2)``: the direction in which the loss of the point falls fastest, as long as its slope.
        """
        points = ops.convert_to_tensor(validate.real_array(points, "points", ndim=2).astype("float32"))
        # A loss of pairs compares each point with the mean logit of real points.
        real = ops.mean(frozen_call(self.gan.discriminator, real_points(self.data, 500, [self.seed, 2]), training=False))

        def summed_loss(points: Any) -> Any:
            logits = frozen_call(self.gan.discriminator, points, training=False)
            return len(points) * generator_loss_by_name(self.loss, logits, real)

        return -ops.convert_to_numpy(backend.input_gradient(summed_loss, points))

    def precision_recall(self) -> tuple[float, float]:
        """Return the precision and the recall of 2,000 generated points against 2,000 real ones.

        Precision is the fraction of generated points with a real point within :data:`NOISE_STD`; recall is the fraction of
        real points with a generated point within that distance. A second sample of real points scores 0.98 or more on
        both, not 1, because some points are isolated.
        """
        real, generated = real_points(self.data, 2000, [self.seed, 2]), self.generated_points()
        precise = KDTree(real).query(generated)[0] < NOISE_STD
        recalled = KDTree(generated).query(real)[0] < NOISE_STD
        return float(precise.mean()), float(recalled.mean())

    def status(self) -> str:
        """Return a sentence with the step, precision, recall and the latest losses."""
        precision, recall = self.precision_recall()
        text = f"Step {self.steps:,}: precision {precision:.0%}, recall {recall:.0%}"
        if self.history:
            _, generator, discriminator = self.history[-1]
            text += f"; generator loss {generator:,.2f}, discriminator loss {discriminator:,.2f}"
        return f"{text}."

    def plot_plane(self, axes: Axes, *, n: int = 200, arrows: int = 30) -> None:
        """Plot real and generated points over the discriminator's probability.

        Parameters
        ----------
        axes : matplotlib.axes.Axes
        n : int
            Number of real points (dots) and of generated points (crosses).
        arrows : int
            Number of generated points with an arrow along :meth:`descent_directions`. The longest has length 1.
        """
        line = np.linspace(-EXTENT, EXTENT, 61)
        grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        probability = self.real_probability(grid).reshape(61, 61)
        extent = (-EXTENT, EXTENT, -EXTENT, EXTENT)
        axes.imshow(
            probability, extent=extent, origin="lower", interpolation="bilinear", cmap="PuOr_r", vmin=-0.2, vmax=1.2
        )
        axes.contour(line, line, probability, [0.5], colors="black", linewidths=0.8)
        real, generated = real_points(self.data, n, [self.seed, 2]), self.generated_points(n)
        axes.plot(*real.T, ".", color="black", markersize=2.5)
        axes.plot(*generated.T, "x", color="C0", markersize=4)
        if arrows:
            directions = self.descent_directions(generated[:arrows])
            # Scaled to the longest, so that the directions are visible at any size of the gradient.
            longest = np.linalg.norm(directions, axis=1).max() + 1e-12
            vectors = *generated[:arrows].T, *directions.T / longest
            axes.quiver(*vectors, angles="xy", scale_units="xy", scale=1, width=0.007, color="C0")
        axes.grid(False)
        axes.spines[:].set(visible=True, linewidth=0.5)
        axes.set(aspect="equal", xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), xticks=[], yticks=[])

    def plot(self) -> Figure:
        """Return a new figure of :meth:`plot_plane` and of both losses over the steps."""
        # Fixed margins: computing a constrained layout takes as long as drawing the figure.
        figure, (plane, losses) = plt.subplots(1, 2, figsize=(7, 3.5), width_ratios=[4, 5], layout="none")
        figure.subplots_adjust(left=0.01, right=0.98, bottom=0.14, top=0.91, wspace=0.22)
        self.plot_plane(plane)
        plane.set(title=f"step {self.steps:,}")
        if self.history:
            steps, *curves = np.transpose(self.history)
            for curve, name, style in zip(curves, ("generator", "discriminator"), ("C0-", "C1--"), strict=True):
                losses.plot(steps, curve, style, label=name)
            losses.legend()
        losses.set(xlabel="step", title="loss")
        return figure


class _MeanLosses(keras.callbacks.Callback):
    """Mean losses over each group of steps, computed from Keras's means over all steps of the present ``fit``.

    Parameters
    ----------
    n : int
        Number of steps of the present ``fit``.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.means: list[tuple[float, ...]] = []
        self.before = (0, np.zeros(2))

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None  # Keras passes a dictionary
        # In the last group, Keras counts all STEPS_PER_EXECUTION steps even if there were fewer.
        steps = min(batch + 1, self.n)
        total = steps * np.array([logs["generator_loss"], logs["discriminator_loss"]])
        self.means.append((steps, *((total - self.before[1]) / (steps - self.before[0])).tolist()))
        self.before = steps, total
