"""The few lines that differ between TensorFlow, JAX and PyTorch. Everything else is written in Keras once.

Which backend is used is Keras's own choice: the variable ``KERAS_BACKEND``, set before the first import.
"""

import keras


def input_gradient(function, inputs):
    """Return the gradient of a scalar function by its input.

    The result can itself be differentiated: a gradient penalty on a critic is trained through it.

    Parameters
    ----------
    function : callable
        Takes a tensor of the shape of ``inputs`` and returns a tensor of any shape; its sum is differentiated, so a
        function that treats the rows of a batch independently gives each row's own gradient.
    inputs : tensor

    Returns
    -------
    tensor
        Of the shape of ``inputs``.

    Raises
    ------
    NotImplementedError
        On a backend that this library does not know.

    Examples
    --------
    >>> from keras import ops
    >>> gradient = input_gradient(lambda x: x**2, ops.convert_to_tensor([1.0, 3.0]))
    >>> ops.convert_to_numpy(gradient)
    array([2., 6.], dtype=float32)
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = keras.ops.sum(function(inputs))
        return tape.gradient(total, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if backend == "jax":
        import jax

        return jax.grad(lambda x: keras.ops.sum(function(x)))(inputs)
    if backend == "torch":
        import torch

        inputs = inputs if inputs.requires_grad else inputs.detach().requires_grad_(True)
        return torch.autograd.grad(keras.ops.sum(function(inputs)), inputs, create_graph=True)[0]
    raise NotImplementedError(f"gradients by the input are not written for the Keras backend {backend}")
