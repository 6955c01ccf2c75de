"""Training in several processes, on one or several hosts, with JAX: how they connect, agree, and end.

Every process runs the same program with the same arguments and computes its part of each batch. Process 0 also writes the
files and prints. In a single process every function works on every backend, and changes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from imggen_lib import _validation as validate

__all__ = [
    "JOIN_SECONDS", "Place", "alone", "any_process", "check_same", "count", "index", "join", "leave", "local_copy",
    "lost_process", "place", "share_file",
]  # fmt: skip

#: Seconds that a process waits for the others before it gives up.
JOIN_SECONDS = 120.0

# The environment variables that keras.distribution.initialize reads, for the arguments of the same meaning.
_VARIABLES = {
    "coordinator": "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "num_processes": "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "process_id": "KERAS_DISTRIBUTION_PROCESS_ID",
}
# What the messages of JAX's runtime contain if a collective operation failed: it has no exception class for this.
_LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|coordination service|heartbeat|peer", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Place:
    """The number of this process among all processes of a training, and the address of process 0.

    Attributes
    ----------
    host : str
        Name or address of the host on which process 0 runs.
    port : int
        A free port of that host.
    num_processes, process_id : int

    Examples
    --------
    >>> Place("10.0.0.1", 1234, num_processes=4, process_id=3).process_id
    3
    """

    host: str
    port: int
    num_processes: int
    process_id: int


def place(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Place | None:
    """Check the three arguments. Where one is None, use the environment variable that Keras has for it.

    Parameters
    ----------
    coordinator : str, optional
        ``HOST:PORT`` of process 0, or a list with commas, of which the first is used. Or
        ``KERAS_DISTRIBUTION_JOB_ADDRESSES``.
    num_processes : int, optional
        Or ``KERAS_DISTRIBUTION_NUM_PROCESSES``.
    process_id : int, optional
        From 0 to ``num_processes - 1``. Or ``KERAS_DISTRIBUTION_PROCESS_ID``.
    environment : mapping, optional
        The environment, instead of ``os.environ``.

    Returns
    -------
    Place or None
        None if nothing is given.

    Raises
    ------
    TypeError, ValueError
        If only some of the three are given, one is malformed or out of range, or Keras does not run on JAX.

    Examples
    --------
    >>> place(environment={}) is None
    True
    """
    environment = os.environ if environment is None else environment
    given: dict[str, Any] = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    values: dict[str, Any] = {
        name: environment.get(_VARIABLES[name]) if value is None else value for name, value in given.items()
    }
    if all(value is None for value in values.values()):
        return None
    if missing := [name for name, value in values.items() if value is None]:
        present = next(name for name, value in values.items() if value is not None)
        raise ValueError(
            f"{present} is {values[present]} and {missing[0]} is not given; several processes need coordinator, "
            "num_processes and process_id"
        )
    for name in ("num_processes", "process_id"):
        text = values[name]
        if isinstance(text, str):
            if not re.fullmatch(r"[+-]?\d+", text):
                raise ValueError(f"{_VARIABLES[name]} is {text!r}; expected a whole number")
            values[name] = int(text)
    number = validate.integer(values["num_processes"], "num_processes")
    own = validate.integer(values["process_id"], "process_id", minimum=0)
    if own >= number:
        raise ValueError(f"process_id is {own} and num_processes is {number}; expected 0 to {number - 1}")
    host, colon, port = values["coordinator"].split(",")[0].strip().rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(
            f"coordinator is {values['coordinator']!r}; expected the host of process 0 and a free port there, such as "
            "10.0.0.1:1234"
        )
    if (backend := keras.backend.backend()) != "jax":
        raise ValueError(f"coordinator is given and Keras runs on {backend}; set KERAS_BACKEND=jax for several processes")
    return Place(host.strip("[]"), int(port), number, own)


def join(own: Place, *, timeout: float = JOIN_SECONDS) -> None:
    """Wait for the other processes, then initialise JAX for all of them.

    ``jax.distributed.initialize``, which :func:`keras.distribution.initialize` calls, aborts the interpreter if a port is
    in use or a process is missing. So the processes first connect on the same port without JAX, where each gets a readable
    error. A process that called :func:`keras.distribution.initialize` itself needs no ``join``.

    Parameters
    ----------
    own : Place
    timeout : float
        Seconds.

    Raises
    ------
    TimeoutError
        If a process does not connect in time.
    ValueError
        If the port is in use, the host is unknown, two processes have the same number, their arguments contradict each
        other, or JAX has computed in this process before.

    Examples
    --------
    A single process does not wait:

    >>> join(Place("localhost", 1234, num_processes=1, process_id=0))
    """
    if own.num_processes == 1:
        return
    import jax

    if not hasattr(jax.distributed, "is_initialized"):
        raise ValueError(f"JAX {jax.__version__} is installed; several processes need a newer one: pip install -U jax")
    if _initialised():
        if (count(), index()) != (own.num_processes, own.process_id):
            raise ValueError(
                f"this is process {index()} of {count()} already; process_id is {own.process_id} and num_processes is "
                f"{own.num_processes}: start a new process for another training"
            )
        return
    _meet(own, timeout)
    try:
        # Keras's function has no timeout, and with SLURM it uses one device only of those that the process sees.
        jax.distributed.initialize(
            f"{own.host}:{own.port}",
            own.num_processes,
            own.process_id,
            cluster_detection_method="deactivate",
            initialization_timeout=max(1, round(timeout)),
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"JAX cannot join the other processes ({reason}); train in a new process") from error


def _initialised() -> bool:
    """Return whether this is one of several processes, without initialising JAX."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return getattr(jax.distributed, "is_initialized", bool)()  # an older JAX is always alone: see join


def count() -> int:
    """Return the number of processes.

    Examples
    --------
    >>> count()
    1
    """
    return _jax_number("process_count", 1)


def index() -> int:
    """Return the number of this process; process 0 writes and prints.

    Examples
    --------
    >>> index()
    0
    """
    return _jax_number("process_index", 0)


def _jax_number(name: str, alone: int) -> int:
    if not _initialised():
        return alone
    import jax

    return getattr(jax, name)()


def any_process(flags: list[bool]) -> list[bool]:
    """Return for each flag whether it is True in any process. Every process must call this at the same point.

    Examples
    --------
    >>> any_process([True, False])
    [True, False]
    """
    if count() == 1:
        return flags
    return np.any(_gather(np.array(flags)), axis=0).tolist()


def check_same(*parts: Any) -> None:
    """Raise ``ValueError`` in every process if the arguments differ between them. Every process must call this.

    Parameters
    ----------
    *parts
        Arrays, or values that JSON can hold.

    Examples
    --------
    >>> check_same({"seed": 0}, np.zeros(3))
    """
    if count() == 1:
        return
    sums = [zlib.crc32(p.tobytes() if isinstance(p, np.ndarray) else json.dumps(p).encode()) for p in parts]
    found = _gather(np.array(sums, np.uint32))
    if different := np.flatnonzero((found != found[0]).any(axis=1)).tolist():
        raise ValueError(
            f"process {different[0]} has other arguments, other data or another version than process 0; start the same "
            "command in every process, and change --process-id only"
        )


def share_file(path: Path | None) -> Path:
    """Give every process the content of a file that process 0 can read. Every process must call this.

    Parameters
    ----------
    path : pathlib.Path or None
        Of process 0; the others ignore it. Hosts need no common file system.

    Returns
    -------
    pathlib.Path
        The same path in process 0, and a temporary file of the same suffix in the others.

    Examples
    --------
    >>> share_file(Path("model.keras")).name
    'model.keras'
    """
    if count() == 1 and path is not None:
        return path
    content = b"" if path is None or index() else path.read_bytes()
    size = int(_from_process_0(np.array(len(content))))
    data = np.zeros(size, np.uint8)
    data[: len(content)] = np.frombuffer(content, np.uint8)
    data = _from_process_0(data)
    if index() == 0 and path is not None:
        return path
    number, name = tempfile.mkstemp(suffix=".keras")
    with os.fdopen(number, "wb") as file:
        file.write(data.tobytes())
    return Path(name)


def _gather(array: NDArray[Any]) -> NDArray[Any]:
    """Return the arrays of all processes, with a new first axis."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array)).reshape(count(), *array.shape)


def _from_process_0(array: NDArray[Any]) -> NDArray[Any]:
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(array))


def local_copy(model: keras.Model) -> keras.Model:
    """Return a copy of a model that is on this process's device alone, so that one process can use it without the others.

    In a single process the model itself is returned.

    Examples
    --------
    >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> local_copy(network) is network
    True
    """
    if count() == 1:
        return model
    with alone():
        copy = type(model).from_config(model.get_config())
        copy.set_weights(model.get_weights())
    return copy


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Build, load or save models inside the context in this process alone. In a single process it changes nothing.

    Outside it, every new variable is compared between the processes, so that all must create it. Keras creates variables
    also when it saves a model.

    Examples
    --------
    >>> with alone():
    ...     network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    """
    distribution = keras.distribution.distribution()
    if count() > 1:
        keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


@contextlib.contextmanager
def lost_process() -> Iterator[None]:
    """Raise ``ConnectionError`` inside the context if an operation fails because another process has ended.

    Examples
    --------
    >>> with lost_process():
    ...     pass
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if count() == 1 or not _LOST.search(str(error)):
            raise
        reason = str(error).splitlines()[0]
        raise ConnectionError(
            f"another process of this training has ended or cannot be reached ({reason}); its output states why. Start "
            "all processes again, with --resume if there is a checkpoint"
        ) from error


def leave(status: int) -> None:
    """End this process after an error, if it is one of several. A single process continues.

    At a normal exit JAX waits up to five minutes for the other processes, which may wait for this one. Process 0 waits a
    second, because the others are aborted when it ends, and may be about to print the same error.

    Examples
    --------
    >>> leave(1)
    """
    if count() == 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    if index() == 0:
        time.sleep(1)
    os._exit(status)


def _meet(own: Place, timeout: float) -> None:
    """Wait until all processes have connected to process 0."""
    if own.process_id == 0:
        _receive_others(own, timeout)
    else:
        _report_to_process_0(own, timeout)


def _receive_others(own: Place, timeout: float) -> None:
    joined: dict[int, socket.socket] = {}
    error: Exception | None = None
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listen(own.port))
        deadline = time.monotonic() + timeout
        while error is None and len(joined) < own.num_processes - 1:
            listening.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection = stack.enter_context(listening.accept()[0])
            except TimeoutError:
                missing = sorted(set(range(1, own.num_processes)) - set(joined))
                error = TimeoutError(
                    f"process {missing[0]} did not connect to port {own.port} within {timeout:g} s; start the same command "
                    f"with --process-id {missing[0]}, and check that its host can reach this one"
                )
                break
            hello = _read(connection, 5)
            if hello.get("imggen") is None:
                continue  # something else that tried the port
            number, process = hello["num_processes"], hello["process_id"]
            if number != own.num_processes:
                error = ValueError(
                    f"process {process} was started with num_processes {number}, and process 0 with {own.num_processes}; "
                    "give all the same number"
                )
            elif process in joined:
                error = ValueError(f"two processes were started with process_id {process}; give each another number")
            joined[process if error is None else -1] = connection
        for connection in joined.values():
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps({"imggen": 1, "error": error and str(error)}).encode() + b"\n")
    if error is not None:
        raise error


def _listen(port: int) -> socket.socket:
    """Listen on all addresses of this host, as JAX does on the same port afterwards."""
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ValueError(
            f"process 0 cannot listen on port {port} ({reason}); choose another port for all processes"
        ) from None


def _report_to_process_0(own: Place, timeout: float) -> None:
    hello = {"imggen": 1, "num_processes": own.num_processes, "process_id": own.process_id}
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((own.host, own.port), timeout=min(left, 5)) as connection:
                connection.sendall(json.dumps(hello).encode() + b"\n")
                reply = _read(connection, timeout + 5)
        except socket.gaierror as error:
            raise ValueError(f"the host {own.host} of process 0 is unknown ({error.strerror}); check coordinator") from None
        except OSError:
            reply = {}
        if "imggen" in reply:
            if reply["error"] is not None:
                raise ValueError(reply["error"])
            return
        time.sleep(0.2)  # process 0 has not started yet
    raise TimeoutError(
        f"process 0 was not found at {own.host}:{own.port} within {timeout:g} s; start it with the same command and "
        "--process-id 0, and check that this host can reach it"
    )


def _read(connection: socket.socket, timeout: float) -> dict[str, Any]:
    """Return one line of JSON; an empty dictionary if the other side sends anything else."""
    connection.settimeout(timeout)
    try:
        with connection.makefile("rb") as file:
            found = json.loads(file.readline(4096))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
