"""Attention against Keras's layer, equivariance, and token-by-token evaluation against the whole sequence."""

import keras
import numpy as np
import pytest
from keras import ops

from imggen_lib import models
from imggen_lib.models import transformer


def tokens(n=2, length=5, width=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, length, width)).astype("float32")


def randomise(layer, seed=0):
    for index, weight in enumerate(layer.weights):
        weight.assign(0.3 * keras.random.normal(weight.shape, seed=seed + index))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 5])
def test_attention_equals_keras(causal, length):
    x, heads = tokens(length=length), 2
    ours, theirs = models.Attention(heads, causal=causal), keras.layers.MultiHeadAttention(heads, 4)
    ours(x), theirs(x, x)
    randomise(ours)
    for name in ("query", "key", "value"):
        kernel, bias = getattr(ours, name).get_weights()
        getattr(theirs, f"{name}_dense").set_weights([kernel.reshape(8, heads, 4), bias.reshape(heads, 4)])
    kernel, bias = ours.output_layer.get_weights()
    theirs.output_dense.set_weights([kernel.reshape(heads, 4, 8), bias])
    np.testing.assert_allclose(ours(x), theirs(x, x, use_causal_mask=causal), atol=1e-5)


def test_attention_to_a_context_equals_keras():
    x, context = tokens(), tokens(length=3, width=6, seed=1)
    ours, theirs = models.Attention(1), keras.layers.MultiHeadAttention(1, 8)
    ours(x, context), theirs(x, context)
    randomise(ours)
    for name in ("query", "key", "value"):
        kernel, bias = getattr(ours, name).get_weights()
        getattr(theirs, f"{name}_dense").set_weights([kernel[:, np.newaxis], bias[np.newaxis]])
    kernel, bias = ours.output_layer.get_weights()
    theirs.output_dense.set_weights([kernel[np.newaxis], bias])
    np.testing.assert_allclose(ours(x, context), theirs(x, context), atol=1e-5)


def test_attend_is_a_weighted_mean_in_closed_form():
    """With the keys 0 and 1 and the query q, the weight of the second value is the logistic function of q."""
    q = np.linspace(-3, 3, 7, dtype="float32")[:, np.newaxis]
    keys, values = np.array([[0.0], [1.0]], "float32"), np.array([[0.0], [1.0]], "float32")
    np.testing.assert_allclose(models.attend(q, keys, values), 1 / (1 + np.exp(-q)), atol=1e-6)
    mask = np.array([[True, False]])
    np.testing.assert_allclose(models.attend(q, keys, values, mask=mask), 0 * q)


def test_attention_is_equivariant_until_positions_are_added():
    x, order = tokens(), [3, 1, 4, 0, 2]
    layer, positions = models.Attention(2), models.Positions()
    np.testing.assert_allclose(layer(x[:, order]), ops.convert_to_numpy(layer(x))[:, order], atol=1e-6)
    with_positions = ops.convert_to_numpy(layer(positions(x)))[:, order]
    assert np.abs(ops.convert_to_numpy(layer(positions(x[:, order]))) - with_positions).max() > 1e-4


@pytest.mark.parametrize("conditional", [False, True])
def test_block_by_steps_equals_the_whole_sequence(conditional):
    x = tokens()
    condition = ops.convert_to_tensor(tokens(length=1)[:, 0]) if conditional else None
    block = models.TransformerBlock(2, causal=True)
    block(x, condition)
    randomise(block)
    whole, cache = ops.convert_to_numpy(block(x, condition)), block.attention.empty_cache(2, length=5)
    steps = [ops.convert_to_numpy(block.step(x[:, i : i + 1], i, cache, condition)) for i in range(x.shape[1])]
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole, atol=1e-5)
    assert (ops.convert_to_numpy(cache["keys"]) != 0).all() and (ops.convert_to_numpy(cache["values"]) != 0).all()


def test_causal_block_does_not_see_later_tokens():
    x = tokens()
    block = models.TransformerBlock(2, causal=True)
    before = ops.convert_to_numpy(block(x))
    x[:, 3] += 1
    after = ops.convert_to_numpy(block(x))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(axis=-1).all()


def test_block_with_a_condition_starts_as_the_identity_and_depends_on_it_later():
    x, condition = tokens(), ops.ones((2, 3))
    block = models.TransformerBlock(2)
    np.testing.assert_array_equal(block(x, condition), x)
    randomise(block)
    assert (ops.convert_to_numpy(block(x, condition)) != ops.convert_to_numpy(block(x, 2 * condition))).any()


@pytest.mark.parametrize(("shape", "patch"), [((8, 12, 3), 4), ((6, 6, 1), 1), ((6, 4, 2), 2)])
def test_patches_hold_the_pixels_of_their_square(shape, patch):
    image = np.random.default_rng(0).uniform(size=(2, *shape)).astype("float32")
    patches = ops.convert_to_numpy(models.image_to_patches(image, patch))
    columns = shape[1] // patch
    for index in range(patches.shape[1]):
        row, column = patch * (index // columns), patch * (index % columns)
        square = image[:, row : row + patch, column : column + patch]
        np.testing.assert_array_equal(patches[:, index], square.reshape(2, -1))
    np.testing.assert_array_equal(models.patches_to_image(patches, shape, patch), image)


def test_width_must_be_a_multiple_of_the_heads():
    with pytest.raises(ValueError, match="the tokens have 8 values and heads is 3; expected a divisor of 8"):
        models.Attention(3)(tokens())


def test_layers_are_rebuilt_from_their_configuration():
    for layer in (
        models.Attention(2, causal=True),
        models.TransformerBlock(2, causal=True, expansion=3),
        models.Positions(),
    ):
        again = type(layer).from_config(layer.get_config())
        layer(tokens()), again(tokens())
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(layer(tokens()), again(tokens()))


def test_causal_mask_is_the_lower_triangle():
    np.testing.assert_array_equal(transformer.causal_mask(3), [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
