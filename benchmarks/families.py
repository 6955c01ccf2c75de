"""How good the families become over seconds of training, each beside published recipes of its kind: ``make bench``.

The peers are written anew from the figures that their pages give:

- convolutional VAEs with two latent numbers of TensorFlow's tutorial and of keras.io,
- the diffusion model "DDIM" of keras.io, whose pictures are 64x64 there; ours are padded to 32x32, and cropped again,
- the PixelCNN of keras.io, which models black or white pixels; ours is trained on the same, without classes,
- the Real NVP of keras.io on two moons.

The first two kinds are scored as GANs are (``race.frechet``), on Fashion-MNIST; the third in bits per pixel on test
pictures that were made black or white at a third of full brightness; the fourth in nats a point on points that nobody was
trained on.
Tables and plots beside this file are written at the end.
"""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
import race
import tensorflow as tf
from keras import layers, ops
from sklearn.datasets import make_moons

from imggen_lib import datasets, models
from imggen_lib.models import flow
from imggen_lib.models.autoregressive import causal

FOLDER = Path(__file__).parent
MINUTES = 5
# Drawing takes a diffusion model long, so its race draws fewer pictures, and less often.
DIFFUSED = 1000
THRESHOLD = 0.33


# Variational autoencoders


class Autoencoder(race.Peer):
    """What both share: pixels are chances of being white, codes have two numbers."""

    def __init__(self, seed):
        super().__init__(seed, datasets.load(race.DATASET).x_train)
        self.encoder, self.decoder = self.trained

    def step(self, images):
        with tf.GradientTape() as tape:
            mean, log_variance = tf.split(self.encoder(images, training=True), 2, axis=1)
            code = mean + tf.exp(log_variance / 2) * tf.random.normal(tf.shape(mean))
            logits = self.decoder(code, training=True)
            misfit = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
            loss = tf.reduce_mean(tf.reduce_sum(misfit, axis=[1, 2, 3]) + self.divergence(mean, log_variance, code))
        self.update(tape, loss, self.encoder, self.decoder)

    @staticmethod
    def decoder_from(channels):
        """Both decoders grow a picture of 7x7 pixels, of so many channels, in the same two steps."""
        decoder = keras.Sequential([keras.Input((2,)), layers.Dense(7 * 7 * channels, activation="relu")])
        decoder.add(layers.Reshape((7, 7, channels)))
        for filters in (64, 32):
            decoder.add(layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu"))
        decoder.add(layers.Conv2DTranspose(1, 3, padding="same"))
        return decoder

    def sample(self, n):
        return 1 / (1 + np.exp(-race.drawn(self.decoder, 2, n)))


class TutorialVAE(Autoencoder):
    """The convolutional VAE of TensorFlow's tutorial: the divergence is estimated from the drawn code."""

    batch_size = 32

    def optimizer(self):
        return keras.optimizers.Adam(1e-4)

    def networks(self):
        encoder = keras.Sequential([keras.Input((28, 28, 1))])
        for filters in (32, 64):
            encoder.add(layers.Conv2D(filters, 3, strides=2, activation="relu"))
        encoder.add(layers.Flatten())
        encoder.add(layers.Dense(4))
        decoder = self.decoder_from(32)
        race.expect_parameters(encoder, 28_036)
        race.expect_parameters(decoder, 41_953)
        return encoder, decoder

    def divergence(self, mean, log_variance, code):
        log_q = -0.5 * ((code - mean) ** 2 * tf.exp(-log_variance) + log_variance)
        return tf.reduce_sum(log_q + 0.5 * code**2, axis=1)


class ExampleVAE(Autoencoder):
    """The VAE of keras.io's examples: the divergence in closed form."""

    batch_size = 128

    def optimizer(self):
        return keras.optimizers.Adam(1e-3)

    def networks(self):
        image = keras.Input((28, 28, 1))
        x = image
        for filters in (32, 64):
            x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
        encoder = keras.Model(image, layers.Dense(4)(x))
        decoder = self.decoder_from(64)
        race.expect_parameters(encoder, 69_076)
        race.expect_parameters(decoder, 65_089)
        return encoder, decoder

    def divergence(self, mean, log_variance, code):
        return -0.5 * tf.reduce_sum(1 + log_variance - mean**2 - tf.exp(log_variance), axis=1)


# Diffusion


class ExampleDDIM(race.Peer):
    """The denoising diffusion implicit model of keras.io's examples, drawing by its moving average in 20 steps."""

    batch_size, momentum = 64, 0.999
    widths, depth = (32, 64, 96, 128), 2

    def __init__(self, seed):
        images = np.pad(datasets.load(race.DATASET).x_train, ((0, 0), (2, 2), (2, 2), (0, 0)))
        self.mean, self.std = images.mean(), images.std()
        super().__init__(seed, ((images - self.mean) / self.std).astype("float32"))
        (self.network,) = self.trained
        self.average = keras.models.clone_model(self.network)
        self.average.set_weights(self.network.get_weights())
        self.checkpoint = tf.train.Checkpoint(
            network=self.network, average=self.average, optimizer=self.optimizers[0], done=self.done
        )

    def optimizer(self):
        return keras.optimizers.AdamW(1e-3, weight_decay=1e-4)

    def networks(self):
        image, noise_variance = keras.Input((32, 32, 1)), keras.Input((1, 1, 1))
        speeds = (2 * np.pi * np.geomspace(1, 1000, 16)).astype("float32")
        angles = noise_variance * ops.convert_to_tensor(speeds)
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=3)
        x = layers.Conv2D(self.widths[0], 1)(image)
        x = layers.Concatenate()([x, layers.UpSampling2D(32, interpolation="nearest")(waves)])
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
        # The page says 1,950,627 for three colours; two 1x1 convolutions are smaller for one.
        trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
        if trainable != 1_950_627 - 2 * 32 - 2 * (32 + 1):
            raise AssertionError(f"the network has {trainable} parameters that are trained")
        return (network,)

    @staticmethod
    def block(x, width):
        residual = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
        x = layers.BatchNormalization(center=False, scale=False)(x)
        x = layers.Conv2D(width, 3, padding="same", activation="swish")(x)
        return layers.Add()([layers.Conv2D(width, 3, padding="same")(x), residual])

    @staticmethod
    def rates(time):
        """Shares of noise and signal: an angle from nearly all signal to nearly all noise."""
        first, last = np.arccos(0.95), np.arccos(0.02)
        angle = first + time * (last - first)
        return ops.sin(angle), ops.cos(angle)

    def step(self, images):
        noise = tf.random.normal(tf.shape(images))
        noise_rate, signal_rate = self.rates(tf.random.uniform([self.batch_size, 1, 1, 1]))
        with tf.GradientTape() as tape:
            guess = self.network([signal_rate * images + noise_rate * noise, noise_rate**2], training=True)
            loss = tf.reduce_mean(tf.abs(guess - noise))
        self.update(tape, loss, self.network)
        for mean, new in zip(self.average.weights, self.network.weights, strict=True):
            mean.assign(self.momentum * mean + (1 - self.momentum) * new)

    def sample(self, n, steps=20):
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


def black_or_white():
    """Fashion-MNIST with nothing between black and white."""
    dataset = datasets.load(race.DATASET)
    split = {name: (getattr(dataset, name) > THRESHOLD).astype("float32") for name in ("x_train", "x_test")}
    return dataclasses.replace(dataset, **split)


class ExamplePixelCNN(race.Peer):
    """The PixelCNN of keras.io's examples: each pixel is black or white."""

    batch_size = 128

    def __init__(self, seed):
        super().__init__(seed, black_or_white().x_train)
        (self.network,) = self.trained

    def optimizer(self):
        return keras.optimizers.Adam(5e-4)

    def networks(self):
        image = keras.Input((28, 28, 1))
        x = MaskedConvolution(128, 7, itself=False)(image)
        for _ in range(5):
            y = layers.Conv2D(128, 1, activation="relu")(x)
            y = MaskedConvolution(64, 3, itself=True)(y)
            x = layers.Add()([x, layers.Conv2D(128, 1, activation="relu")(y)])
        for _ in range(2):
            x = MaskedConvolution(128, 1, itself=True)(x)
        network = keras.Model(image, layers.Conv2D(1, 1)(x))
        race.expect_parameters(network, 532_673)
        return (network,)

    def step(self, images):
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits))
        self.update(tape, loss, self.network)

    def bits(self, images):
        logits = self.network.predict(images, batch_size=128, verbose=0)
        return float(np.mean(np.logaddexp(0, (1 - 2 * images) * logits))) / np.log(2)


class MaskedConvolution(layers.Layer):
    """A convolution whose kernel is zero where it must not look, with a rectifier behind it."""

    def __init__(self, filters, size, *, itself):
        super().__init__()
        self.convolution = layers.Conv2D(filters, size, padding="same", activation="relu")
        mask = np.ones((size, size, 1, 1), "float32")
        mask[size // 2, size // 2 + itself :] = 0
        mask[size // 2 + 1 :] = 0
        self.mask = mask

    def build(self, input_shape):
        self.convolution.build(input_shape)

    def call(self, x):
        kernel = self.convolution.kernel * self.mask
        return ops.relu(ops.conv(x, kernel, padding="same") + self.convolution.bias)


class OurPixelCNN(race.Recipe):
    """Our recipe, without classes, on black or white pixels."""

    def __init__(self, seed):
        build = lambda image_shape, classes, seed: models.PixelCNN(models.pixel_network(image_shape))  # noqa: E731
        super().__init__("pixelcnn", seed, black_or_white(), build=build)

    def bits(self, images):
        return -float(self.model.log_prob(images).mean()) / images[0].size / np.log(2)


def bits(runner):
    """Bits per pixel on 2,000 test pictures."""
    return (runner.bits(black_or_white().x_test[:2000]),)


# Flows


def moons(n, seed):
    """Points on two moons, shifted and scaled as those of 3,000 others demand."""
    points, others = (make_moons(count, noise=0.05, random_state=number)[0] for count, number in ((n, seed), (3000, 0)))
    return ((points - others.mean(axis=0)) / others.std(axis=0)).astype("float32")


class ExampleRealNVP(race.Peer):
    """The Real NVP of keras.io's examples. Its regulariser is declared there and never added to the loss; so here."""

    batch_size = 256

    def __init__(self, seed):
        super().__init__(seed, moons(3000, 0))
        self.masks = [np.float32([(k + 1) % 2, k % 2]) for k in range(6)]

    def optimizer(self):
        return keras.optimizers.Adam(1e-4)

    def networks(self):
        def dense(activation):
            hidden = [layers.Dense(256, activation="relu") for _ in range(4)]
            return keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(2, activation=activation)])

        found = [dense(activation) for _ in range(6) for activation in ("tanh", "linear")]
        if sum(network.count_params() for network in found) != 2_383_896:
            raise AssertionError("the networks have another number of parameters than those of the page")
        return tuple(found)

    def log_prob(self, x):
        total = 0.0
        for k in reversed(range(6)):
            kept = x * self.masks[k]
            scale, shift = (self.trained[2 * k + which](kept) * (1 - self.masks[k]) for which in (0, 1))
            x = kept + (1 - self.masks[k]) * (x * tf.exp(-scale) - shift * tf.exp(-scale))
            total -= tf.reduce_sum(scale, axis=1)
        return total - tf.reduce_sum(0.5 * x**2, axis=1) - np.log(2 * np.pi)

    def step(self, points):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self.log_prob(points))
        self.update(tape, loss, *self.trained)


class OurFlow(race.Peer):
    """Couplings of the library on points, which are pictures of one pixel with two channels."""

    batch_size = 256

    def __init__(self, seed):
        super().__init__(seed, moons(3000, 0))

    def optimizer(self):
        return keras.optimizers.Adam(2e-3)

    def networks(self):
        x = point = keras.Input((1, 1, 2))
        total = 0.0
        for number in range(8):
            x, log_det = flow.Coupling(48, seed=number)(x)
            total = total + log_det
        return (keras.Model(point, [x, total]),)

    def log_prob(self, points):
        z, log_det = self.trained[0](tf.reshape(points, (-1, 1, 1, 2)))
        return log_det - tf.reduce_sum(0.5 * z**2, axis=(1, 2, 3)) - np.log(2 * np.pi)

    def step(self, points):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self.log_prob(points))
        self.update(tape, loss, *self.trained)


def nats(runner):
    """Nats a point on 20,000 points that nobody was trained on."""
    return (-float(tf.reduce_mean(runner.log_prob(moons(20_000, 1)))),)


def entry(label, build, *, timed, seconds=60 * MINUTES):
    """An entry with one seed."""
    return race.Entry(label, build, seeds=(0,), seconds=seconds, timed=timed)


@dataclasses.dataclass(frozen=True)
class Race:
    """One race: its entries, by what they are measured, what is to be said of that, and after how many seconds."""

    entries: dict
    measure: object
    unit: str
    says: str
    points: tuple = (15, 30, 60, 120, 300)


FRECHET = (
    "Fréchet distance of {:,} samples to the 10,000 test images of Fashion-MNIST, as a multiple of the floor, "
    "after so much training"
)
RACES = {
    "vae": Race(
        {
            "ours": entry("`imggen train vae`", race.Recipe.of("vae"), timed=20),
            "ours_2d": entry("`imggen train vae_2d`", race.Recipe.of("vae_2d"), timed=20),
            "tutorial": entry("VAE, TensorFlow's tutorial", TutorialVAE, timed=40),
            "example": entry("VAE, keras.io", ExampleVAE, timed=20),
        },
        race.frechet,
        "multiple of the floor",
        FRECHET.format(race.IMAGES),
    ),
    "diffusion": Race(
        {
            "ours": entry("`imggen train diffusion`", race.Recipe.of("diffusion"), timed=10),
            "example": entry("DDIM, keras.io", ExampleDDIM, timed=3),
        },
        functools.partial(race.frechet, images=DIFFUSED),
        "multiple of the floor",
        FRECHET.format(DIFFUSED),
        (30, 60, 300),
    ),
    "pixelcnn": Race(
        {
            "ours": entry("our PixelCNN", OurPixelCNN, timed=10),
            "example": entry("PixelCNN, keras.io", ExamplePixelCNN, timed=3),
        },
        bits,
        "bits per pixel",
        "Bits per pixel on 2,000 test images of Fashion-MNIST, black or white, after so much training",
    ),
    "flow": Race(
        {
            "ours": entry("our couplings", OurFlow, timed=200, seconds=60),
            "example": entry("Real NVP, keras.io", ExampleRealNVP, timed=200, seconds=60),
        },
        nats,
        "nats a point",
        "Negative log-likelihood, in nats a point, of 20,000 new points on two moons, after so much training",
        (15, 30, 60),
    ),
}


def main():
    """Run every race, and write its table and plot as soon as it is over."""
    for name, one in RACES.items():
        write(name, race.run(f"families_{name}", one.entries, one.measure, one.points))


def write(name, results):
    """Write one race's results as a Markdown table and a plot."""
    one, path = RACES[name], FOLDER / f"families_{name}.md"
    machine = next(iter(results.values()))["machine"]
    head = f"{one.says} on {machine}; one seed. The clock is steps times the time of a step on the idle machine.\n\n"
    path.write_text(head + race.table(results, one.entries, one.points))
    race.plot(results, one.entries, path.with_suffix(".png"), one.points, one.unit)


if __name__ == "__main__":
    main()
