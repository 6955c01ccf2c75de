"""Quality of the other model families over seconds of training, each beside published recipes of its family.

The published recipes are reimplemented from the values on their pages:

- the convolutional VAEs with two latent dimensions of TensorFlow's tutorial and of keras.io,
- the diffusion model "DDIM" of keras.io, made for 64x64 images; here images are padded to 32x32, and cropped again,
- the PixelCNN of keras.io, which models binary images; this library's is trained on the same images, without classes,
- the Real NVP of keras.io on the two-moons data.

VAEs and diffusion models are scored by the Fréchet distance (``race.frechet_distance``) on Fashion-MNIST; PixelCNNs by bits
per pixel on test images binarised at a third of full brightness; flows by nats per point on new points. Writes the tables
and the plots beside this file. The names of races as arguments, such as ``diffusion``, run only these.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import race
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray
from sklearn.datasets import make_moons

from imggen_lib import datasets
from imggen_lib.models.flow import Coupling

FOLDER = Path(__file__).parent
Array = NDArray[np.float32]
SECONDS = 300
#: Diffusion models sample slowly, so fewer samples are scored.
DIFFUSION_IMAGES = 1000
#: Pixels above this value count as white in the race of the PixelCNNs.
THRESHOLD = 0.33


# Variational autoencoders


class PeerVAE(race.PeerRunner):
    """A published VAE: two latent dimensions, and pixel values as Bernoulli probabilities."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, datasets.load(race.DATASET).x_train)
        self.encoder, self.decoder = self.trained

    def step(self, images: Any) -> None:
        with tf.GradientTape() as tape:
            mean, log_variance = tf.split(self.encoder(images, training=True), 2, axis=1)
            code = mean + tf.exp(log_variance / 2) * tf.random.normal(tf.shape(mean))
            logits = self.decoder(code, training=True)
            cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
            loss = tf.reduce_mean(tf.reduce_sum(cross_entropy, axis=[1, 2, 3]) + self.divergence(mean, log_variance, code))
        self.update(tape, loss, self.encoder, self.decoder)

    def divergence(self, mean: Any, log_variance: Any, code: Any) -> Any:
        """Return the KL divergence of each code's distribution from the standard normal, or an estimate of it."""
        raise NotImplementedError

    @staticmethod
    def decoder_from(channels: int) -> keras.Model:
        """Build a decoder that starts from 7x7 pixels with so many channels."""
        decoder = keras.Sequential([keras.Input((2,)), layers.Dense(7 * 7 * channels, activation="relu")])
        decoder.add(layers.Reshape((7, 7, channels)))
        for filters in (64, 32):
            decoder.add(layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu"))
        decoder.add(layers.Conv2DTranspose(1, 3, padding="same"))
        return decoder

    def sample(self, n: int) -> Array:
        """Return the pixel probabilities of n sampled codes."""
        return np.asarray(1 / (1 + np.exp(-race.generate(self.decoder, 2, n))), np.float32)


class TutorialVAE(PeerVAE):
    """The convolutional VAE of TensorFlow's tutorial: the KL divergence is estimated from the sampled code."""

    batch_size = 32

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(1e-4)

    def networks(self) -> tuple[keras.Model, ...]:
        encoder = keras.Sequential([keras.Input((28, 28, 1))])
        for filters in (32, 64):
            encoder.add(layers.Conv2D(filters, 3, strides=2, activation="relu"))
        encoder.add(layers.Flatten())
        encoder.add(layers.Dense(4))
        decoder = self.decoder_from(32)
        race.check_parameter_count(encoder, 28_036)
        race.check_parameter_count(decoder, 41_953)
        return encoder, decoder

    def divergence(self, mean: Any, log_variance: Any, code: Any) -> Any:
        log_q = -0.5 * ((code - mean) ** 2 * tf.exp(-log_variance) + log_variance)
        return tf.reduce_sum(log_q + 0.5 * code**2, axis=1)


class ExampleVAE(PeerVAE):
    """The VAE of keras.io's examples: the KL divergence in closed form."""

    batch_size = 128

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(1e-3)

    def networks(self) -> tuple[keras.Model, ...]:
        image = keras.Input((28, 28, 1))
        x = image
        for filters in (32, 64):
            x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
        encoder = keras.Model(image, layers.Dense(4)(x))
        decoder = self.decoder_from(64)
        race.check_parameter_count(encoder, 69_076)
        race.check_parameter_count(decoder, 65_089)
        return encoder, decoder

    def divergence(self, mean: Any, log_variance: Any, code: Any) -> Any:
        return -0.5 * tf.reduce_sum(1 + log_variance - mean**2 - tf.exp(log_variance), axis=1)


# Diffusion


class ExampleDDIM(race.PeerRunner):
    """The denoising diffusion implicit model of keras.io's examples; samples come from averaged weights in 20 steps."""

    batch_size, momentum = 64, 0.999
    widths, depth = (32, 64, 96, 128), 2

    def __init__(self, seed: int) -> None:
        images = np.pad(datasets.load(race.DATASET).x_train, ((0, 0), (2, 2), (2, 2), (0, 0)))
        self.mean, self.std = images.mean(), images.std()
        super().__init__(seed, ((images - self.mean) / self.std).astype("float32"))
        (self.network,) = self.trained
        self.average = keras.models.clone_model(self.network)
        self.average.set_weights(self.network.get_weights())
        self.checkpoint = tf.train.Checkpoint(
            network=self.network, average=self.average, optimizer=self.optimizers[0], done=self.done
        )

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.AdamW(1e-3, weight_decay=1e-4)

    def networks(self) -> tuple[keras.Model, ...]:
        image, noise_variance = keras.Input((32, 32, 1)), keras.Input((1, 1, 1))
        frequencies = (2 * np.pi * np.geomspace(1, 1000, 16)).astype("float32")
        angles = noise_variance * ops.convert_to_tensor(frequencies)
        embedding = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=3)
        x = layers.Conv2D(self.widths[0], 1)(image)
        x = layers.Concatenate()([x, layers.UpSampling2D(32, interpolation="nearest")(embedding)])
        skips = []
        for width in self.widths[:-1]:
            for _ in range(self.depth):
                x = self.block(x, width)
                skips.append(x)
            x = layers.AveragePooling2D(2)(x)
        for _ in range(self.depth):
            x = self.block(x, self.widths[-1])
        for width in reversed(self.widths[:-1]):
            x = layers.UpSampling2D(2, interpolation="bilinear")(x)
            for _ in range(self.depth):
                x = self.block(layers.Concatenate()([x, skips.pop()]), width)
        network = keras.Model([image, noise_variance], layers.Conv2D(1, 1, kernel_initializer="zeros")(x))
        # The published network has 1,950,627 for three channels; with one channel two 1x1 convolutions are smaller.
        trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
        expected = 1_950_627 - 2 * 32 - 2 * (32 + 1)
        if trainable != expected:
            raise AssertionError(f"the network has {trainable} trainable parameters; expected {expected}")
        return (network,)

    @staticmethod
    def block(x: Any, width: int) -> Any:
        """Apply a residual block."""
        residual = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
        x = layers.BatchNormalization(center=False, scale=False)(x)
        x = layers.Conv2D(width, 3, padding="same", activation="swish")(x)
        return layers.Add()([layers.Conv2D(width, 3, padding="same")(x), residual])

    @staticmethod
    def rates(time: Any) -> tuple[Any, Any]:
        """Return the amplitudes of noise and signal at a time from 0 (nearly clean) to 1 (nearly pure noise)."""
        first, last = np.arccos(0.95), np.arccos(0.02)
        angle = first + time * (last - first)
        return ops.sin(angle), ops.cos(angle)

    def step(self, images: Any) -> None:
        noise = tf.random.normal(tf.shape(images))
        noise_rate, signal_rate = self.rates(tf.random.uniform([self.batch_size, 1, 1, 1]))
        with tf.GradientTape() as tape:
            predicted = self.network([signal_rate * images + noise_rate * noise, noise_rate**2], training=True)
            loss = tf.reduce_mean(tf.abs(predicted - noise))
        self.update(tape, loss, self.network)
        for mean, new in zip(self.average.weights, self.network.weights, strict=True):
            mean.assign(self.momentum * mean + (1 - self.momentum) * new)

    def sample(self, n: int, steps: int = 20) -> Array:
        """Return n images from the deterministic sampler."""
        rng, parts = np.random.default_rng(0), []
        for first in range(0, n, 500):
            x = rng.standard_normal((min(500, n - first), 32, 32, 1)).astype("float32")
            for number in range(steps):
                noise_rate, signal_rate = (float(rate) for rate in self.rates(1 - number / steps))
                level = np.full((len(x), 1, 1, 1), noise_rate**2, "float32")
                noise = self.average.predict([x, level], batch_size=250, verbose=0)
                image = (x - noise_rate * noise) / signal_rate
                noise_rate, signal_rate = (float(rate) for rate in self.rates(1 - (number + 1) / steps))
                x = signal_rate * image + noise_rate * noise
            parts.append(image)
        return np.clip(np.concatenate(parts)[:, 2:-2, 2:-2] * self.std + self.mean, 0, 1)


# Autoregressive models


def binary_images() -> datasets.Dataset:
    """Return Fashion-MNIST with binarised pixels and without classes."""
    dataset = datasets.load(race.DATASET)
    split = {name: (getattr(dataset, name) > THRESHOLD).astype("float32") for name in ("x_train", "x_test")}
    return dataclasses.replace(dataset, **split, condition=datasets.Condition("none"))


class ExamplePixelCNN(race.PeerRunner):
    """The PixelCNN of keras.io's examples for binary images."""

    batch_size = 128

    def __init__(self, seed: int) -> None:
        super().__init__(seed, binary_images().x_train)
        (self.network,) = self.trained

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(5e-4)

    def networks(self) -> tuple[keras.Model, ...]:
        image = keras.Input((28, 28, 1))
        x = MaskedConvolution(128, 7, "A")(image)
        for _ in range(5):
            y = layers.Conv2D(128, 1, activation="relu")(x)
            y = MaskedConvolution(64, 3, "B")(y)
            x = layers.Add()([x, layers.Conv2D(128, 1, activation="relu")(y)])
        for _ in range(2):
            x = MaskedConvolution(128, 1, "B")(x)
        network = keras.Model(image, layers.Conv2D(1, 1)(x))
        race.check_parameter_count(network, 532_673)
        return (network,)

    def step(self, images: Any) -> None:
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits))
        self.update(tape, loss, self.network)

    def bits(self, images: Array) -> float:
        """Return the mean bits per pixel."""
        logits = self.network.predict(images, batch_size=128, verbose=0)
        return float(np.mean(np.logaddexp(0, (1 - 2 * images) * logits))) / np.log(2)


class MaskedConvolution(layers.Layer):
    """A causal convolution with a ReLU: mask type "A" excludes the pixel itself, "B" includes it."""

    def __init__(self, filters: int, size: int, mask_type: str) -> None:
        super().__init__()
        self.convolution = layers.Conv2D(filters, size, padding="same", activation="relu")
        mask = np.ones((size, size, 1, 1), "float32")
        mask[size // 2, size // 2 + (mask_type == "B") :] = 0
        mask[size // 2 + 1 :] = 0
        self.mask = mask

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        self.convolution.build(input_shape)

    def call(self, x: Any) -> Any:
        """Convolve with the masked kernel."""
        kernel = self.convolution.kernel * self.mask
        return ops.relu(ops.conv(x, kernel, padding="same") + self.convolution.bias)


class OurPixelCNN(race.RecipeRunner):
    """The recipe of this library on binary images."""

    def __init__(self, seed: int) -> None:
        super().__init__("pixelcnn", seed, binary_images())

    def bits(self, images: Array) -> float:
        """Return the mean bits per pixel."""
        return -float(self.model.log_prob(images).mean()) / images[0].size / np.log(2)


def bits_per_pixel(runner: ExamplePixelCNN | OurPixelCNN) -> float:
    """Return the mean bits per pixel of 2,000 test images."""
    return runner.bits(binary_images().x_test[:2000])


# Flows


def moons(n: int, seed: int) -> Array:
    """Return points of the two-moons data, standardised with the mean and deviation of 3,000 points of seed 0."""
    points, reference = (make_moons(size, noise=0.05, random_state=number)[0] for size, number in ((n, seed), (3000, 0)))
    return ((points - reference.mean(axis=0)) / reference.std(axis=0)).astype("float32")


class ExampleRealNVP(race.PeerRunner):
    """The Real NVP of keras.io's examples. As published, its regulariser is declared but never added to the loss."""

    batch_size = 256

    def __init__(self, seed: int) -> None:
        super().__init__(seed, moons(3000, 0))
        self.masks = [np.array([(k + 1) % 2, k % 2], np.float32) for k in range(6)]

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(1e-4)

    def networks(self) -> tuple[keras.Model, ...]:
        def dense(activation: str) -> keras.Model:
            hidden = [layers.Dense(256, activation="relu") for _ in range(4)]
            return keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(2, activation=activation)])

        networks = [dense(activation) for _ in range(6) for activation in ("tanh", "linear")]
        if sum(network.count_params() for network in networks) != 2_383_896:
            raise AssertionError("the networks differ in their number of parameters from the published ones")
        return tuple(networks)

    def log_prob(self, x: Any) -> Any:
        """Return the log-density of each point."""
        total = 0.0
        for k in reversed(range(6)):
            kept = x * self.masks[k]
            scale, shift = (self.trained[2 * k + which](kept) * (1 - self.masks[k]) for which in (0, 1))
            x = kept + (1 - self.masks[k]) * (x * tf.exp(-scale) - shift * tf.exp(-scale))
            total -= tf.reduce_sum(scale, axis=1)
        return total - tf.reduce_sum(0.5 * x**2, axis=1) - np.log(2 * np.pi)

    def step(self, points: Any) -> None:
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self.log_prob(points))
        self.update(tape, loss, *self.trained)


class OurFlow(race.PeerRunner):
    """The couplings of this library. A point is an image of one pixel with two channels."""

    batch_size = 256

    def __init__(self, seed: int) -> None:
        super().__init__(seed, moons(3000, 0))

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(2e-3)

    def networks(self) -> tuple[keras.Model, ...]:
        x = point = keras.Input((1, 1, 2))
        total = 0.0
        for number in range(8):
            x, log_det = Coupling(48, seed=number)(x)
            total = total + log_det
        return (keras.Model(point, [x, total]),)

    def log_prob(self, points: Any) -> Any:
        """Return the log-density of each point."""
        z, log_det = self.trained[0](tf.reshape(points, (-1, 1, 1, 2)))
        return log_det - tf.reduce_sum(0.5 * z**2, axis=(1, 2, 3)) - np.log(2 * np.pi)

    def step(self, points: Any) -> None:
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self.log_prob(points))
        self.update(tape, loss, *self.trained)


def nats_per_point(runner: ExampleRealNVP | OurFlow) -> float:
    """Return the mean negative log-likelihood of 20,000 new points."""
    return -float(tf.reduce_mean(runner.log_prob(moons(20_000, 1))))


# The races


def entry(label: str, build: Callable[[int], Any], *, seconds: float = SECONDS) -> race.Entry:
    """Return an entry with one seed."""
    return race.Entry(label, build, seeds=(0,), seconds=seconds)


FRECHET = "Fréchet distance of {:,} samples to the 10,000 test images of Fashion-MNIST"


@dataclasses.dataclass(frozen=True)
class Race:
    """A race: its entries, the measure with its unit and description, and the points in seconds."""

    entries: dict[str, race.Entry]
    measure: Callable[[Any], float]
    unit: str
    description: str
    points: tuple[int, ...] = (15, 30, 60, 120, 300)
    #: Number of samples of a Fréchet distance; None for other measures.
    num_images: int | None = None

    def for_trial(self) -> Race:
        """Return this race with the points of a trial and few samples."""
        if self.num_images is None:
            return dataclasses.replace(self, points=race.TRIAL_POINTS)
        return dataclasses.replace(
            self,
            points=race.TRIAL_POINTS,
            num_images=race.TRIAL_IMAGES,
            measure=functools.partial(race.frechet_distance, n=race.TRIAL_IMAGES),
            description=FRECHET.format(race.TRIAL_IMAGES),
        )


RACES = {
    "vae": Race(
        {
            "ours": entry("`imggen train vae`", race.RecipeRunner.of("vae")),
            "ours_2d": entry("`imggen train vae_2d`", race.RecipeRunner.of("vae_2d")),
            "tutorial": entry("VAE, TensorFlow's tutorial", TutorialVAE),
            "example": entry("VAE, keras.io", ExampleVAE),
        },
        race.frechet_distance,
        "Fréchet distance",
        FRECHET.format(race.NUM_IMAGES),
        num_images=race.NUM_IMAGES,
    ),
    "diffusion": Race(
        {
            "ours": entry("`imggen train diffusion`", race.RecipeRunner.of("diffusion")),
            "example": entry("DDIM, keras.io", ExampleDDIM),
        },
        functools.partial(race.frechet_distance, n=DIFFUSION_IMAGES),
        "Fréchet distance",
        FRECHET.format(DIFFUSION_IMAGES),
        (30, 60, 300),
        num_images=DIFFUSION_IMAGES,
    ),
    "pixelcnn": Race(
        {
            "ours": entry("PixelCNN of this library", OurPixelCNN),
            "example": entry("PixelCNN, keras.io", ExamplePixelCNN),
        },
        bits_per_pixel,
        "bits per pixel",
        "Bits per pixel of 2,000 binarised test images of Fashion-MNIST",
    ),
    "flow": Race(
        {
            "ours": entry("couplings of this library", OurFlow, seconds=60),
            "example": entry("Real NVP, keras.io", ExampleRealNVP, seconds=60),
        },
        nats_per_point,
        "nats per point",
        "Negative log-likelihood, in nats per point, of 20,000 new points of the two-moons data",
        (15, 30, 60),
    ),
}


def main() -> None:
    """Run the races, and write the table and the plot of each as soon as it ends."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("races", nargs="*", metavar="RACE", help=f"{', '.join(RACES)}; all of them without arguments")
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    arguments = parser.parse_args()
    if unknown := set(arguments.races) - set(RACES):
        parser.error(f"there is no race {', '.join(sorted(unknown))}; expected some of {', '.join(RACES)}")
    for name in arguments.races or RACES:
        details = RACES[name].for_trial() if arguments.trial else RACES[name]
        results = race.run(f"families_{name}", details.entries, details.measure, details.points, trial=arguments.trial)
        baseline = None if details.num_images is None else race.real_data_distance(details.num_images)
        folder = race.RESULTS / "trial" if arguments.trial else FOLDER
        write(details, folder / f"families_{name}.md", results, baseline)


def write(details: Race, path: Path, results: dict[str, Any], baseline: float | None) -> None:
    """Write the results of a race as a Markdown table and a plot; ``baseline`` is the distance of real images."""
    machine = next(iter(results.values()))["machine"]
    head = f"{details.description}, over seconds of training on {machine}; one seed. "
    if baseline is not None:
        head += f"For {details.num_images:,} real training images it is {baseline:.3g}. "
    head += "Time is the number of steps times the seconds per step, measured on the idle machine.\n\n"
    path.write_text(head + race.table(results, details.entries, details.points))
    race.plot(results, details.entries, path.with_suffix(".png"), details.points, details.unit, baseline=baseline)


if __name__ == "__main__":
    main()
