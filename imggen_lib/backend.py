"""Differences between TensorFlow, JAX and PyTorch under Keras. All other code is the same on every backend.

Keras chooses the backend: by the environment variable ``KERAS_BACKEND``, read when Keras is first imported.
"""

from __future__ import annotations

import contextlib
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras

from imggen_lib import _runtime
from imggen_lib import _validation as validate

__all__ = ["compiled_method", "data_parallel", "inference_function", "input_gradient", "mixed_precision"]

_runtime.apply_requested_graph_setting()

# The compiled function of each network. An entry is deleted with its network, to which the function refers only weakly.
_compiled: weakref.WeakKeyDictionary[keras.Model, Callable[..., Any]] = weakref.WeakKeyDictionary()


def inference_function(network: keras.Model, *, compiled: bool = True) -> Callable[[Any], Any]:
    """Return a function that evaluates a network in inference mode: no dropout, stored batch statistics.

    On JAX and PyTorch it is Keras's ``predict_on_batch``. On TensorFlow, ``predict_on_batch`` compiles the network again
    for the second batch size, which takes up to a second and prints a warning. Here it is compiled once, for every batch
    size, and the compiled function is kept as long as the network exists.

    Parameters
    ----------
    network : keras.Model
        Functional or sequential.
    compiled : bool
        False avoids the compilation on TensorFlow, for a large network that is evaluated a few times only. It has no effect
        on other backends.

    Returns
    -------
    callable
        From one array, or a list of arrays if the network has several inputs, to one NumPy array or a list of them.

    Examples
    --------
    Dropout is inactive, for a batch of any size:

    >>> import numpy as np
    >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)])
    >>> evaluate = inference_function(network)
    >>> evaluate(np.ones((1, 3))).tolist(), float(evaluate(np.ones((100, 3))).min())
    ([[1.0, 1.0, 1.0]], 1.0)
    """
    if keras.backend.backend() != "tensorflow":
        return network.predict_on_batch
    import tensorflow as tf

    if compiled and network not in _compiled:
        _compiled[network] = _compile(network)
    function = _compiled.get(network) or _call(network)

    def evaluate(inputs: Any) -> Any:
        arrays = inputs if isinstance(inputs, list) else [inputs]
        tensors = [tf.convert_to_tensor(array, spec.dtype) for array, spec in zip(arrays, network.inputs, strict=True)]
        return tf.nest.map_structure(keras.ops.convert_to_numpy, function(*tensors))

    return evaluate


_methods: weakref.WeakKeyDictionary[Any, dict[str, Callable[..., Any]]] = weakref.WeakKeyDictionary()


def compiled_method(owner: Any, name: str) -> Callable[..., Any]:
    """Return a method that is compiled on TensorFlow, and the method itself on other backends.

    For a method that is called many times with small tensors, such as one step of a sequence: without compilation, most of
    its time is spent in Python. It is compiled once for each structure of arguments, and kept as long as the owner exists.

    Parameters
    ----------
    owner : keras.layers.Layer
    name : str
        A method from tensors, or lists and dictionaries of them, to the same. It must not change its arguments.

    Returns
    -------
    callable

    Examples
    --------
    >>> from keras import ops
    >>> layer = keras.layers.Rescaling(3.0)
    >>> float(compiled_method(layer, "call")(ops.convert_to_tensor(2.0)))
    6.0
    """
    if keras.backend.backend() != "tensorflow":
        return getattr(owner, name)
    found = _methods.setdefault(owner, {})
    if name not in found:
        reference: Callable[[], Any] = weakref.ref(owner)
        found[name] = _graph(lambda *arguments: getattr(reference(), name)(*arguments), reduce_retracing=True)
    return found[name]


def _compile(network: keras.Model) -> Callable[..., Any]:
    """Return a TensorFlow function that evaluates the network for any batch size."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *spec.shape[1:]), spec.dtype) for spec in network.inputs]
    return _graph(_call(network), input_signature=signature)


def _graph(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return a TensorFlow function without the warning of TensorFlow, which counts functions of several networks as one."""
    import tensorflow as tf

    compiled = tf.function(function, autograph=False, **options)
    compiled._omit_frequent_tracing_warning = True
    return compiled


def _call(network: keras.Model) -> Callable[..., Any]:
    """Return a function of the network's inputs that does not keep the network alive."""
    reference: Callable[[], Any] = weakref.ref(network)

    def call(*inputs: Any) -> Any:
        return reference()(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    return call


def input_gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Return the gradient of a function with respect to its input.

    The gradient can be differentiated again, so a gradient penalty can be part of a loss.

    Parameters
    ----------
    function : callable
        From a tensor of the shape of ``inputs`` to a tensor of any shape. The sum of its output is differentiated: if it
        treats the rows of a batch independently, each row of the result is the gradient for that row.
    inputs : tensor

    Returns
    -------
    tensor
        Of the shape of ``inputs``; zero where the output does not depend on them.

    Raises
    ------
    NotImplementedError
        On other backends than TensorFlow, JAX and PyTorch.

    Examples
    --------
    The derivative of x² is 2x:

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
        with torch.enable_grad():  # in Keras's `predict`, gradients are switched off
            total = keras.ops.sum(function(inputs))
        if not total.requires_grad:  # the output does not depend on the input
            return torch.zeros_like(inputs)
        return torch.autograd.grad(total, inputs, create_graph=True, materialize_grads=True)[0]
    raise NotImplementedError(
        f"the Keras backend is {backend}, for which input_gradient is not implemented; use tensorflow, jax or torch"
    )


def data_parallel(devices: int, batch_size: int) -> AbstractContextManager[Any]:
    """Return a context in which a model is built and trained on several devices, with JAX.

    Each device has a copy of the weights and computes the gradient for its part of the batch; an all-reduce then gives
    every device the mean. This is the gradient of the whole batch on one device, so no other setting has to change.

    Parameters
    ----------
    devices : int
        Number of devices. With 1 the context changes nothing, on any backend. After
        :func:`keras.distribution.initialize`, the devices of all processes together; each gives the same number of its own
        and must be fed its part of the batch, in the order of the processes.
    batch_size : int
        Images in a training step; a multiple of ``devices``.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError, ValueError
        If ``devices`` is not a positive integer, there are fewer devices, the batch or the devices cannot be divided
        equally, or the backend is not JAX.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677, 2017.

    Examples
    --------
    >>> with data_parallel(1, batch_size=64):
    ...     network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    """
    devices = validate.integer(devices, "devices")
    processes = _devices_of_processes()
    if devices % len(processes):
        raise ValueError(
            f"devices is {devices} and there are {len(processes)} processes; expected the number of devices in all "
            f"processes, a multiple of {len(processes)}"
        )
    if devices == 1:
        return contextlib.nullcontext()
    if (backend := keras.backend.backend()) != "jax":
        raise ValueError(
            f"devices is {devices} and Keras runs on {backend}; set KERAS_BACKEND=jax to use more than one device"
        )
    found = keras.distribution.list_devices()
    if devices > len(found):
        raise ValueError(f"devices is {devices}; expected at most {len(found)}, the devices of JAX: {', '.join(found)}")
    if batch_size % devices:
        raise ValueError(f"batch_size is {batch_size}; expected a multiple of the number of devices, {devices}")
    chosen = found[:devices]
    if len(processes) > 1:
        each = devices // len(processes)
        if each > (fewest := min(map(len, processes))):
            raise ValueError(
                f"devices is {devices}, {each} for each of {len(processes)} processes; expected at most {fewest} for each"
            )
        chosen = [name for names in processes for name in names[:each]]
    # Keras can divide a tf.data pipeline among processes, but not other kinds of data: they are divided beforehand.
    return keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False).scope()


def _devices_of_processes() -> list[list[str]]:
    """Return Keras's names of the devices of each process: one empty list if JAX runs in one process alone."""
    if keras.backend.backend() != "jax":
        return [[]]
    import jax

    if not getattr(jax.distributed, "is_initialized", bool)():
        return [[]]
    names: list[list[str]] = [[] for _ in range(jax.process_count())]
    for device, name in zip(jax.devices(), keras.distribution.list_devices(), strict=True):
        names[device.process_index].append(name)
    return names


def mixed_precision(enabled: bool = True, *, everywhere: bool = False) -> AbstractContextManager[None]:
    """Return a context in which networks are built that compute in bfloat16, if there is a GPU that supports it.

    bfloat16 has the range of float32 with 8 bits of precision, so small gradients do not become zero and the loss needs no
    scaling. Weights, and the outputs of the networks in :mod:`imggen_lib.models`, stay float32.

    Parameters
    ----------
    enabled : bool
        With False the context changes nothing.
    everywhere : bool
        Compute in bfloat16 also without such a GPU. A processor with AVX512-BF16 or AMX multiplies bfloat16 about twice as
        fast as float32. Other processors are slower with it.

    Returns
    -------
    context manager

    References
    ----------
    Micikevicius et al., "Mixed precision training", ICLR 2018. Kalamkar et al., "A study of BFLOAT16 for deep learning
    training", arXiv:1905.12322, 2019.

    Examples
    --------
    >>> with mixed_precision():
    ...     network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> network.weights[0].dtype
    'float32'
    """
    wanted = enabled and (everywhere or _supports_bfloat16())
    return _dtype_policy("mixed_bfloat16") if wanted else contextlib.nullcontext()


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Set Keras's global dtype policy inside the context."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _supports_bfloat16() -> bool:
    """Return whether there is an NVIDIA GPU of compute capability 8.0 or higher, which multiplies bfloat16 faster."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return bool(gpus) and tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    if keras.backend.backend() == "jax":
        import jax

        # For AMD's devices JAX gives a name here, such as gfx942; a CPU does not have the attribute.
        number = re.fullmatch(r"\d+(\.\d+)?", str(getattr(jax.devices()[0], "compute_capability", "")))
        return number is not None and float(number[0]) >= 8
    return False
