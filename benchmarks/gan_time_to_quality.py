"""Fréchet distance of GANs over seconds of training: this library's recipe with five seeds, and two published recipes.

The published recipes are reimplemented from the values on their pages: the DCGAN of TensorFlow's tutorial (two gradient
tapes, batches of 256, Adam at 1e-4) and the WGAN-GP of keras.io's examples (three critic steps for each generator step,
batches of 512, Adam at 2e-4). As published, the interpolation weights of its penalty are normally distributed. All train on
the 60,000 training images of Fashion-MNIST and are scored on its test images. See ``race.py`` for how time is counted.
Writes the table and the plot beside this file.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import race
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from imggen_lib import datasets

TABLE = Path(__file__).with_suffix(".md")
SHOWN = (15, 30, 60, 120, 300, 600, 1200, 1800)


class PeerGAN(race.PeerRunner):
    """A published GAN: images in [-1, 1], a generator and a discriminator."""

    latent_dim: int

    def __init__(self, seed: int) -> None:
        super().__init__(seed, datasets.load(race.DATASET).x_train * 2 - 1)
        self.generator, self.discriminator = self.trained

    def latent(self) -> tf.Tensor:
        """Sample a batch of latent vectors."""
        return tf.random.normal([self.batch_size, self.latent_dim])

    def sample(self, n: int) -> NDArray[np.float32]:
        """Return n images in [0, 1]."""
        return np.clip((race.generate(self.generator, self.latent_dim, n) + 1) / 2, 0, 1)


class TutorialDCGAN(PeerGAN):
    """The DCGAN of TensorFlow's tutorial."""

    batch_size, latent_dim = 256, 100

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(1e-4)

    def networks(self) -> tuple[keras.Model, keras.Model]:
        generator = keras.Sequential([keras.Input((100,)), layers.Dense(7 * 7 * 256, use_bias=False)])
        generator.add(layers.BatchNormalization())
        generator.add(layers.LeakyReLU(0.3))
        generator.add(layers.Reshape((7, 7, 256)))
        for filters, stride in ((128, 1), (64, 2)):
            generator.add(layers.Conv2DTranspose(filters, 5, strides=stride, padding="same", use_bias=False))
            generator.add(layers.BatchNormalization())
            generator.add(layers.LeakyReLU(0.3))
        generator.add(layers.Conv2DTranspose(1, 5, strides=2, padding="same", use_bias=False, activation="tanh"))
        discriminator = keras.Sequential([keras.Input((28, 28, 1))])
        for filters in (64, 128):
            discriminator.add(layers.Conv2D(filters, 5, strides=2, padding="same"))
            discriminator.add(layers.LeakyReLU(0.3))
            discriminator.add(layers.Dropout(0.3))
        discriminator.add(layers.Flatten())
        discriminator.add(layers.Dense(1))
        race.check_parameter_count(generator, 2_330_944)
        race.check_parameter_count(discriminator, 212_865)
        return generator, discriminator

    def step(self, images: Any) -> None:
        cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fakes = self.generator(self.latent(), training=True)
            on_real, on_fake = self.discriminator(images, training=True), self.discriminator(fakes, training=True)
            generator_loss = cross_entropy(tf.ones_like(on_fake), on_fake)
            discriminator_loss = cross_entropy(tf.ones_like(on_real), on_real)
            discriminator_loss += cross_entropy(tf.zeros_like(on_fake), on_fake)
        self.update(generator_tape, generator_loss, self.generator)
        self.update(discriminator_tape, discriminator_loss, self.discriminator)


class ExampleWGAN(PeerGAN):
    """The WGAN-GP of keras.io's examples."""

    batch_size, latent_dim = 512, 128
    critic_steps, penalty_weight = 3, 10.0

    def optimizer(self) -> keras.optimizers.Optimizer:
        return keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.9)

    def networks(self) -> tuple[keras.Model, keras.Model]:
        generator = keras.Sequential([keras.Input((128,)), layers.Dense(4 * 4 * 256, use_bias=False)])
        generator.add(layers.BatchNormalization())
        generator.add(layers.LeakyReLU(0.2))
        generator.add(layers.Reshape((4, 4, 256)))
        for filters in (128, 64, 1):
            generator.add(layers.UpSampling2D(2))
            generator.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
            generator.add(layers.BatchNormalization())
            generator.add(layers.LeakyReLU(0.2) if filters > 1 else layers.Activation("tanh"))
        generator.add(layers.Cropping2D(2))
        critic = keras.Sequential([keras.Input((28, 28, 1)), layers.ZeroPadding2D(2)])
        for filters in (64, 128, 256, 512):
            critic.add(layers.Conv2D(filters, 5, strides=2, padding="same"))
            critic.add(layers.LeakyReLU(0.2))
            if filters in (128, 256):
                critic.add(layers.Dropout(0.3))
        critic.add(layers.Flatten())
        critic.add(layers.Dropout(0.2))
        critic.add(layers.Dense(1))
        race.check_parameter_count(generator, 910_660)
        race.check_parameter_count(critic, 4_305_409)
        return generator, critic

    def step(self, images: Any) -> None:
        for _ in range(self.critic_steps):
            with tf.GradientTape() as tape:
                fakes = self.generator(self.latent(), training=True)
                cost = tf.reduce_mean(self.discriminator(fakes, training=True))
                cost -= tf.reduce_mean(self.discriminator(images, training=True))
                cost += self.penalty_weight * self.penalty(images, fakes)
            self.update(tape, cost, self.discriminator)
        with tf.GradientTape() as tape:
            fakes = self.generator(self.latent(), training=True)
            cost = -tf.reduce_mean(self.discriminator(fakes, training=True))
        self.update(tape, cost, self.generator)

    def penalty(self, images: Any, fakes: Any) -> tf.Tensor:
        """Return the mean squared deviation of the gradient's norm from 1, between real and generated images."""
        between = images + tf.random.normal([self.batch_size, 1, 1, 1]) * (fakes - images)
        with tf.GradientTape() as tape:
            tape.watch(between)
            scores = self.discriminator(between, training=True)
        norms = tf.sqrt(tf.reduce_sum(tape.gradient(scores, between) ** 2, axis=[1, 2, 3]))
        return tf.reduce_mean((norms - 1) ** 2)


ENTRIES = {
    "ours": race.Entry("`imggen train gan`", race.RecipeRunner.of("gan"), seeds=(0, 1, 2, 3, 4), seconds=120),
    "dcgan": race.Entry("DCGAN, TensorFlow's tutorial", TutorialDCGAN, seeds=(0,), seconds=1800),
    "wgan_gp": race.Entry("WGAN-GP, keras.io", ExampleWGAN, seeds=(0,), seconds=1800),
}


def main() -> None:
    """Run the race, then write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trial", action="store_true", help=race.TRIAL_HELP)
    trial = parser.parse_args().trial
    n = race.TRIAL_IMAGES if trial else race.NUM_IMAGES
    results = race.run("gan_time_to_quality", ENTRIES, functools.partial(race.frechet_distance, n=n), trial=trial)
    path = race.RESULTS / "trial" / TABLE.name if trial else TABLE
    write(path, results, race.real_data_distance(n), n, race.TRIAL_POINTS if trial else SHOWN)


def write(path: Path, results: dict[str, Any], baseline: float, n: int, points: tuple[int, ...]) -> None:
    """Write the results as a Markdown table and a plot. Cells that were not measured are empty."""
    head = (
        f"Fréchet distance of {n:,} samples to the 10,000 test images of Fashion-MNIST, over seconds of "
        f"training on {results['ours']['machine']}. For {n:,} real training images it is "
        f"{baseline:.3g}. First row: median (minimum to maximum) of five seeds, chosen beforehand; other rows: "
        "one seed. Time is the number of steps times the seconds per step, measured on the idle machine; cells before the "
        "end of the first step are empty.\n\n"
    )
    path.write_text(head + race.table(results, ENTRIES, points))
    race.plot(results, ENTRIES, path.with_suffix(".png"), points, "Fréchet distance", baseline=baseline)


if __name__ == "__main__":
    main()
