"""The few lines that differ between TensorFlow, JAX and PyTorch. Everything else is written in Keras once.

Which backend is used is Keras's own choice: the variable ``KERAS_BACKEND``, set before the first import.
"""

import contextlib
import re

import keras

from imggen_lib import _validation as validate


def graphs_as_written():
    """Have TensorFlow run its graphs as they were written, if there is only a CPU. On other backends it does nothing.

    By default TensorFlow rewrites each new graph before it runs it, which pays for large networks that train for hours. For
    those of this book it takes longer than it saves (measured for the first step of a small diffusion model: 7.2 seconds
    with it, 4.9 without; later steps of five kinds of models were no slower). Later graphs are rewritten again after
    ``tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})``.

    Returns
    -------
    bool
        Whether graphs run as they were written.

    References
    ----------
    Larsen and Shpeisman, "TensorFlow graph optimizations", 2019.

    Examples
    --------
    >>> graphs_as_written() in (True, False)
    True
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return False
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    return True


def inference_function(network):
    """Return a function that answers as a network in use does; on TensorFlow it is compiled once for any number of inputs.

    It is Keras's ``predict_on_batch``, except on TensorFlow, where that compiles a network anew for the second number that
    it is asked for: up to a second of work for the largest here, and a warning on the page.

    Parameters
    ----------
    network : keras.Model
        Functional or sequential.

    Returns
    -------
    callable
        From one array, or a list of arrays for a network with several inputs, to one array or a list of arrays.

    Examples
    --------
    >>> import numpy as np
    >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> inference_function(network)(np.zeros((5, 3))).shape
    (5, 1)
    """
    if keras.backend.backend() != "tensorflow":
        return network.predict_on_batch
    import tensorflow as tf

    if not hasattr(network, "compiled_inference"):
        signature = [tf.TensorSpec((None, *given.shape[1:]), given.dtype) for given in network.inputs]
        network.compiled_inference = tf.function(
            lambda *inputs: network(inputs[0] if len(inputs) == 1 else list(inputs), training=False),
            input_signature=signature,
            autograph=False,
        )

    def answer(inputs):
        inputs = inputs if isinstance(inputs, list) else [inputs]
        inputs = [tf.convert_to_tensor(array, given.dtype) for array, given in zip(inputs, network.inputs, strict=True)]
        return tf.nest.map_structure(keras.ops.convert_to_numpy, network.compiled_inference(*inputs))

    return answer


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
        total = keras.ops.sum(function(inputs))
        if not total.requires_grad:  # a constant
            return torch.zeros_like(inputs)
        return torch.autograd.grad(total, inputs, create_graph=True, materialize_grads=True)[0]
    raise NotImplementedError(f"gradients by the input are not written for the Keras backend {backend}")


def data_parallel(devices, batch_size):
    """Return a context in which models are built and trained on several devices at once, each with its share of a batch.

    The weights are the same on all. Each device computes the gradient of its part of the batch, and all take the mean:
    the gradient of the whole batch, as one device would have found it. So a training needs no other settings.

    Parameters
    ----------
    devices : int
        How many; with 1 nothing is changed, on any backend.
    batch_size : int
        Of the training to come.

    Returns
    -------
    context manager

    Raises
    ------
    ValueError
        If there are fewer devices, the batch cannot be shared equally, or the backend is not JAX.

    Examples
    --------
    >>> with data_parallel(1, batch_size=64):
    ...     network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    """
    devices = validate.integer(devices, "devices")
    if devices == 1:
        return contextlib.nullcontext()
    if (backend := keras.backend.backend()) != "jax":
        raise ValueError(
            f"devices is {devices} and Keras runs on {backend}; set KERAS_BACKEND=jax for more than one device"
        )
    found = keras.distribution.list_devices()
    if devices > len(found):
        raise ValueError(f"devices is {devices}, and JAX finds {len(found)} here: {', '.join(found)}")
    if batch_size % devices:
        raise ValueError(
            f"batches of {batch_size} pictures cannot be shared equally among {devices} devices; expected a divisor"
        )
    return keras.distribution.DataParallel(devices=found[:devices]).scope()


def mixed_precision(wanted=True):
    """Return a context in which networks are built that compute in half precision, if a GPU here is made for it.

    The numbers are brain floats, which reach as far as single precision and tell three digits apart, so no gradient is
    lost for being small. Weights and what comes out of the networks of :mod:`imggen_lib.models.blocks` stay in single precision.

    Parameters
    ----------
    wanted : bool
        Without it nothing is changed.

    Returns
    -------
    context manager

    References
    ----------
    Micikevicius et al., "Mixed precision training", ICLR 2018.

    Examples
    --------
    >>> with mixed_precision():
    ...     network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> network.weights[0].dtype
    'float32'
    """
    return _policy("mixed_bfloat16") if wanted and _has_brain_floats() else contextlib.nullcontext()


@contextlib.contextmanager
def _policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _has_brain_floats():
    """Whether there is a GPU that multiplies brain floats faster: NVIDIA's, from the compute capability 8.0 on."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return bool(gpus) and tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    if keras.backend.backend() == "jax":
        import jax

        # AMD's devices have names there, such as gfx942.
        number = re.fullmatch(r"\d+(\.\d+)?", str(getattr(jax.devices()[0], "compute_capability", "")))
        return number is not None and float(number[0]) >= 8
    return False
