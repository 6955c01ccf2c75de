"""Sixty seconds of our GAN against six hundred of a tutorial's, on the same machine: ``make bench``.

The peer is the DCGAN of TensorFlow's tutorial pages, written anew from its published figures: networks, Adam at 1e-4 for
both, batches of 256, two gradient tapes in one compiled step; on Fashion-MNIST instead of MNIST. Both sides draw 5,000
pictures, scored alike. What is done is kept in ``_build/benchmarks``, so a stopped run goes on with the other side;
``make clean`` forgets it. The table beside this file is written at the end.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "_build" / "benchmarks" / "gan_against_dcgan.json"
TABLE = Path(__file__).with_suffix(".md")
DATASET = "fashion_mnist_full"
OURS_SECONDS, PEER_SECONDS = 60, 600
IMAGES = 5000


def main():
    """Run what is missing, then write the table."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name, run in (("ours", run_ours), ("peer", run_peer)):
        if name not in results:
            results[name] = run()
            results[name]["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    write_table(results)


def run_ours():
    """Train and score through the command line, as a reader would."""
    with tempfile.TemporaryDirectory() as folder:
        model, images = f"{folder}/gan.keras", f"{folder}/images.npz"
        imggen = [sys.executable, "-m", "imggen_lib"]
        train = ["train", "gan", "--dataset", DATASET, "--seconds", str(OURS_SECONDS), "-o", model]
        subprocess.run([*imggen, *train], check=True)
        subprocess.run([*imggen, "sample", model, "-n", str(IMAGES), "-o", images], check=True)
        from imggen_lib import files, training

        record = training.load(model)[1]
        pictures = files.read_npz(images, ["images"])["images"]
    return {"seconds": record["seconds"], "steps": record["steps"], "batch_size": record["batch_size"], **scored(pictures)}


def run_peer():
    """Train the tutorial's networks in the tutorial's way."""
    import numpy as np
    import tensorflow as tf

    from imggen_lib import datasets

    tf.keras.utils.set_random_seed(0)
    generator, discriminator = peer_networks(tf.keras)
    generator_optimizer, discriminator_optimizer = tf.keras.optimizers.Adam(1e-4), tf.keras.optimizers.Adam(1e-4)
    cross_entropy = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    batch_size, latent_dim = 256, 100

    @tf.function
    def step(images):
        noise = tf.random.normal([batch_size, latent_dim])
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fakes = generator(noise, training=True)
            real_logits, fake_logits = discriminator(images, training=True), discriminator(fakes, training=True)
            generator_loss = cross_entropy(tf.ones_like(fake_logits), fake_logits)
            real_loss = cross_entropy(tf.ones_like(real_logits), real_logits)
            fake_loss = cross_entropy(tf.zeros_like(fake_logits), fake_logits)
            discriminator_loss = real_loss + fake_loss
        for tape, loss, network, optimizer in (
            (generator_tape, generator_loss, generator, generator_optimizer),
            (discriminator_tape, discriminator_loss, discriminator, discriminator_optimizer),
        ):
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    images = datasets.load(DATASET).x_train * 2 - 1
    batches = iter(
        tf.data.Dataset.from_tensor_slices(images).shuffle(60_000, seed=0).repeat().batch(batch_size).prefetch(2)
    )
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < PEER_SECONDS:
        step(next(batches))
        steps += 1
    seconds = time.perf_counter() - began
    noise = np.random.default_rng(0).standard_normal((IMAGES, latent_dim)).astype("float32")
    fakes = np.clip((generator.predict(noise, batch_size=256, verbose=0) + 1) / 2, 0, 1)
    return {"seconds": seconds, "steps": steps, "batch_size": batch_size, **scored(fakes)}


def peer_networks(keras):
    """Return generator and discriminator, as the tutorial's figures give them."""
    from keras import layers

    generator = keras.Sequential(
        [
            keras.Input((100,)),
            layers.Dense(7 * 7 * 256, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.3),
            layers.Reshape((7, 7, 256)),
            layers.Conv2DTranspose(128, 5, strides=1, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.3),
            layers.Conv2DTranspose(64, 5, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.3),
            layers.Conv2DTranspose(1, 5, strides=2, padding="same", use_bias=False, activation="tanh"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(64, 5, strides=2, padding="same"),
            layers.LeakyReLU(0.3),
            layers.Dropout(0.3),
            layers.Conv2D(128, 5, strides=2, padding="same"),
            layers.LeakyReLU(0.3),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    # The parameter counts that follow from the published figures: a slip in writing them anew would show here.
    assert generator.count_params() == 2_330_944, generator.count_params()
    assert discriminator.count_params() == 212_865, discriminator.count_params()
    return generator, discriminator


def scored(images):
    """Return the Fréchet distance of pictures, its floor and their ratio."""
    from imggen_lib import datasets, scoring

    score = scoring.score(images, datasets.load(DATASET))
    return {"distance": score.distance, "floor": score.floor, "multiple": score.multiple}


def write_table(results):
    """Write the results as a Markdown table."""
    names = {"ours": "`imggen train gan`", "peer": "DCGAN of TensorFlow's tutorial"}
    lines = [
        f"Fréchet distance of {IMAGES:,} samples to the 10,000 test images of Fashion-MNIST, as a multiple of the floor "
        f"(the distance of {IMAGES:,} training images). One seed each, {results['ours']['machine']}.",
        "",
        "| | training seconds | images seen | Fréchet distance | multiple of the floor |",
        "|---|---:|---:|---:|---:|",
    ]
    for key, name in names.items():
        row = results[key]
        seen = row["steps"] * row["batch_size"]
        lines.append(f"| {name} | {row['seconds']:.0f} | {seen:,} | {row['distance']:.2f} | {row['multiple']:.1f} |")
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
