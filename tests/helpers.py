"""What several tests of the models need: random images, comparison of weights, gradients on every backend."""

import keras
import numpy as np


def random_images(n=16, seed=0, shape=(8, 8, 1)):
    return np.random.default_rng(seed).uniform(size=(n, *shape)).astype("float32")


def weights_of(model):
    """A copy of the weights, for :func:`has_changed`."""
    return [np.array(weight) for weight in model.get_weights()]


def has_changed(model, before):
    return any((new != old).any() for new, old in zip(weights_of(model), before, strict=True))


def gradients(function, *networks):
    """The value of a function without arguments, and for each network the gradients with respect to its weights."""
    variables = [network.trainable_variables for network in networks]
    values = [[variable.value for variable in group] for group in variables]
    if keras.backend.backend() == "jax":
        import jax

        def at(values):
            pairs = [pair for group, new in zip(variables, values, strict=True) for pair in zip(group, new, strict=True)]
            with keras.StatelessScope(state_mapping=pairs):
                return function()

        value, found = jax.value_and_grad(at)(values)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        found = tape.gradient(value, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return float(value), [[np.asarray(gradient) for gradient in group] for group in found]
