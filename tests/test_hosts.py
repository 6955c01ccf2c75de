"""Training in several processes: two of them on this machine give the losses of one with two devices.

The processes train, are interrupted by a signal to one of them, resume, and finally one is killed. Errors of processes that
do not find each other are tested in threads, without JAX.
"""

import concurrent.futures
import json
import os
import re
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from imggen_lib import cli, training
from imggen_lib.training import callbacks, processes

PROGRAM = """
import json, os, pathlib, signal, sys
import keras, numpy as np
from imggen_lib import evaluation, training
from imggen_lib.training import processes, runs

evaluation.NUM_IMAGES = 100
runs.estimate = lambda *arguments, **options: "estimate"  # measured without compilation, which takes long on JAX
folder, place = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
last = place.get("process_id", 0) == place.get("num_processes", 1) - 1
losses, lines = [], []

def at(step, number):
    # A signal to the last process after a step of this run, and the loss of every step.
    def end(batch, logs):
        losses.append(float(logs["loss"]))
        if last and batch + 1 == step:
            os.kill(os.getpid(), number)
    return [keras.callbacks.LambdaCallback(on_train_batch_end=end)]

options = {"dataset": "digits", "batch_size": 8, "devices": 2, **place}
path = folder / "vae.keras"
sheet = training.SampleSheet(folder / "sheet.png", every=0, n=4)
stopped = training.run("vae_2d", path, num_steps=6, callbacks=at(3, signal.SIGINT), **options)
after_stop = sorted(file.name for file in folder.iterdir())
watching = [*at(None, None), *([sheet] if processes.index() == 0 else [])]
run = training.run("vae_2d", path, num_steps=6, resume=True, report=lines.append, callbacks=watching, **options)
report = {
    "finished": [stopped.finished, run.finished],
    "losses": losses,
    "lines": lines,
    "record": run.record,
    "sample": run.model.sample(2, seed=0).tolist(),
    "after_stop": after_stop,
    "files": sorted(file.name for file in folder.iterdir()),
}
if place:
    try:
        training.run("vae_2d", path, num_steps=6, seed=processes.index() + 1, **options)
    except ValueError as error:
        report["other_seed"] = str(error)
(folder.parent / f"{folder.name}.json").write_text(json.dumps(report))
if place:
    try:
        training.run("vae_2d", path, num_steps=500, callbacks=at(2, signal.SIGKILL), **options)
    except ConnectionError as error:
        print(error, flush=True)
        processes.leave(3)
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Reports of one process with two devices and of two processes with one each, and how the two ended."""
    if sys.platform == "win32" or not hasattr(pytest.importorskip("jax").distributed, "is_initialized"):
        pytest.skip("needs POSIX signals and a JAX that several processes can use")
    folder = tmp_path_factory.mktemp("hosts")
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compilation takes most of the time
    }

    def start(name, place, flags):
        (folder / name).mkdir()
        command = [sys.executable, "-c", PROGRAM, str(folder / name), json.dumps(place)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env={**environment, "XLA_FLAGS": flags}, **options)

    place = {"coordinator": f"127.0.0.1:{free_port()}", "num_processes": 2}
    running = {str(number): start(str(number), {**place, "process_id": number}, "") for number in range(2)}
    try:
        running["alone"] = start("alone", {}, "--xla_force_host_platform_device_count=2")
        ended = {name: (*process.communicate(timeout=400), process.returncode) for name, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    for name, (out, err, _) in ended.items():
        assert (folder / f"{name}.json").is_file(), f"process {name}:\n{out}\n{err}"
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in ended} | {"ended": ended}


@pytest.mark.parametrize("name", ["0", "1"])
def test_two_processes_give_the_losses_of_one_with_two_devices(trained, name):
    """The only difference is the order in which the two halves of a gradient are added."""
    expected = trained["alone"]
    assert len(expected["losses"]) == 6 and len(set(expected["losses"])) == 6
    np.testing.assert_allclose(trained[name]["losses"], expected["losses"], rtol=1e-5)
    np.testing.assert_allclose(trained[name]["sample"], expected["sample"], atol=1e-4)


@pytest.mark.parametrize("name", ["0", "1", "alone"])
def test_a_signal_to_one_process_stops_all_and_the_run_resumes(trained, name):
    report = trained[name]
    assert report["finished"] == [False, True]
    assert report["record"]["steps"] == 6 and report["record"]["images_seen"] == 48
    assert report["record"]["devices"] == 2 and report["record"]["processes"] == (1 if name == "alone" else 2)


def test_only_process_0_writes_and_reports(trained):
    for name in ("0", "alone"):
        assert trained[name]["after_stop"] == ["vae.partial.keras"]
        assert trained[name]["files"] == ["sheet.png", "vae.keras"] and trained[name]["lines"] == ["estimate"]
    assert trained["1"]["after_stop"] == trained["1"]["files"] == trained["1"]["lines"] == []
    assert not re.search("steps|UserWarning", trained["ended"]["1"][1])  # neither a progress bar nor a warning


def test_every_process_has_the_same_evaluation(trained):
    assert trained["0"]["record"]["measures"] == trained["1"]["record"]["measures"]
    assert trained["0"]["record"]["measures"] == pytest.approx(trained["alone"]["record"]["measures"], rel=1e-2)


def test_different_arguments_are_refused_in_every_process(trained):
    for name in ("0", "1"):
        assert "process 1 has other arguments, other data or another version" in trained[name]["other_seed"]


def test_a_killed_process_ends_the_others_with_an_error(trained):
    out, err, status = trained["ended"]["0"]
    assert status == 3 and "another process of this training has ended or cannot be reached" in out, err
    assert trained["ended"]["1"][2] == -9


def place(process_id, port, num_processes=2):
    return processes.Place("127.0.0.1", port, num_processes, process_id)


def meet(*places, timeout=5.0):
    """Let processes meet, in threads. Return for each the error or None."""
    with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
        futures = [pool.submit(processes._meet, one, timeout) for one in places]
        return [future.exception() for future in futures]


def test_processes_meet_whichever_starts_first():
    port = free_port()
    assert meet(place(2, port, 3), place(0, port, 3), place(1, port, 3)) == [None, None, None]


def test_something_else_that_tries_the_port_is_ignored():
    port = free_port()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(processes._meet, place(0, port), 5.0)
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b""):
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port)) as stranger:
                        stranger.sendall(sent)
                    break
                except ConnectionRefusedError:
                    pass
        processes._meet(place(1, port), 5.0)
        assert future.result() is None


def test_a_missing_process_is_named_after_the_time_limit():
    port = free_port()
    (error,) = meet(place(1, port), timeout=0.5)
    assert isinstance(error, TimeoutError)
    assert f"process 0 was not found at 127.0.0.1:{port} within 0.5 s" in str(error)
    first, second = meet(place(0, port, 3), place(2, port, 3), timeout=1.0)
    assert isinstance(first, TimeoutError) and f"process 1 did not connect to port {port} within 1 s" in str(first)
    assert str(second) == str(first)


def test_contradicting_numbers_are_refused_in_both_processes():
    port = free_port()
    for error in meet(place(0, port), place(1, port, 3)):
        assert "process 1 was started with num_processes 3, and process 0 with 2" in str(error)


def test_two_processes_of_one_number_are_refused():
    port = free_port()
    errors = [str(error) for error in meet(place(0, port, 3), place(1, port, 3), place(1, port, 3), timeout=2.0)]
    assert errors[0] == "two processes were started with process_id 1; give each another number"
    assert errors[0] in errors[1:]


def test_a_port_in_use_and_an_unknown_host_are_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen on port {port} .*choose another port"):
            processes._meet(place(0, port), 1.0)
    with pytest.raises(ValueError, match=r"the host no-such-host\.invalid of process 0 is unknown"):
        processes._meet(processes.Place("no-such-host.invalid", 1234, 2, 1), 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"], "process_id is 2 and num_processes is 2"),
        (["--coordinator", "a:1", "--num-processes", "2", "--process-id", "-1"], "process_id is -1"),
        (["--coordinator", "a:1", "--num-processes", "0", "--process-id", "0"], "num_processes is 0"),
        (["--coordinator", "a:1"], "coordinator is a:1 and num_processes is not given"),
        (["--process-id", "1"], "process_id is 1 and coordinator is not given"),
        (["--coordinator", "a", "--num-processes", "2", "--process-id", "0"], "coordinator is 'a'; expected the host"),
        (["--coordinator", "a:70000", "--num-processes", "2", "--process-id", "0"], "coordinator is 'a:70000'"),
        (["--coordinator", "a:1", "--num-processes", "2", "--process-id", "0"], "set KERAS_BACKEND=jax"),
    ],
)
def test_bad_options_print_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")
    command = ["train", "vae_2d", "--dataset", "digits", "--num-steps", "1", *arguments]
    assert cli.main([*command, "-o", str(tmp_path / "a.keras")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("imggen: ") and message in line
    assert list(tmp_path.iterdir()) == []


def test_the_environment_variables_of_keras_are_used(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    variables = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": "10.0.0.1:1234,10.0.0.2:2345",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "KERAS_DISTRIBUTION_PROCESS_ID": "1",
    }
    assert processes.place(environment=variables) == processes.Place("10.0.0.1", 1234, 2, 1)
    assert processes.place(process_id=0, environment=variables).process_id == 0
    with pytest.raises(ValueError, match="KERAS_DISTRIBUTION_PROCESS_ID is 'one'; expected a whole number"):
        processes.place(environment={**variables, "KERAS_DISTRIBUTION_PROCESS_ID": "one"})


def test_parts_of_a_batch_are_the_batch():
    images = np.arange(20)
    options = {"batch_size": 6, "seed": 3, "stop": 5}
    whole = training.Batches(images, images, **options)
    parts = [training.Batches(images, images, part=(number, 3), **options) for number in range(3)]
    for step in range(5):
        np.testing.assert_array_equal(np.concatenate([part[step][0] for part in parts]), whole[step][0])
    with pytest.raises(ValueError, match="batch_size is 6; expected a multiple of the number of processes, 4"):
        training.Batches(images, images, part=(0, 4), **options)


@pytest.mark.parametrize(("others", "stopped"), [([True, False], False), ([True, True], True)])
def test_a_process_stops_with_the_others(monkeypatch, others, stopped):
    monkeypatch.setattr(processes, "any_process", lambda flags: others)
    signal = callbacks.StopOnSignal()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse", run_eagerly=True)
    model.fit(np.zeros((4, 1)), np.zeros(4), batch_size=1, verbose=0, callbacks=[signal, callbacks.StopTogether(signal)])
    assert int(model.optimizer.iterations) == 1 and signal.stopped == stopped
