import subprocess
import sys

import numpy as np
import pytest

from imggen_lib import io


def test_atomic_write_replaces_the_file_when_the_block_ends(tmp_path):
    (tmp_path / "note.txt").write_text("old")
    with io.atomic_write(tmp_path / "note.txt") as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert (tmp_path / "note.txt").read_text() == "old"
    assert (tmp_path / "note.txt").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_keeps_the_old_file_when_the_block_raises(tmp_path, error):
    (tmp_path / "note.txt").write_text("old")
    with pytest.raises(error), io.atomic_write(tmp_path / "note.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert (tmp_path / "note.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_atomic_write_keeps_a_symbolic_link_and_writes_its_target(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    link.symlink_to("target.txt")
    for content in ("first", "second"):  # the target is created, then replaced
        with io.atomic_write(link) as temporary:
            temporary.write_text(content)
        assert link.is_symlink() and target.read_text() == content
    assert sorted(tmp_path.iterdir()) == [link, target]


def test_atomic_write_names_a_missing_folder(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"folder .*nowhere does not exist"),
        io.atomic_write(tmp_path / "nowhere" / "note.txt"),
    ):
        pass


def test_atomic_write_keeps_the_old_file_on_a_full_disk(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.ones(3))
    before = (tmp_path / "a.npz").read_bytes()
    program = """
import resource, sys
import numpy as np
from imggen_lib import io
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with io.atomic_write(sys.argv[1]) as temporary:
        np.savez(temporary, images=np.zeros(10_000))
except OSError as error:
    sys.exit(f"failed: {error.strerror}")
"""
    run = subprocess.run([sys.executable, "-c", program, tmp_path / "a.npz"], capture_output=True, text=True)
    # NumPy 2.0 prints a second error when the incomplete archive is garbage-collected.
    assert (run.returncode, run.stderr.splitlines()[-1]) == (1, "failed: File too large")
    assert (tmp_path / "a.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_sha256_of_abc_is_the_value_in_the_standard(tmp_path):
    # FIPS 180-2, appendix B.1.
    (tmp_path / "abc").write_bytes(b"abc")
    assert io.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_verify_checksum_distinguishes_a_missing_file_from_a_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"abc is missing\. make it"):
        io.verify_checksum(tmp_path / "abc", "0" * 64, advice="make it")
    (tmp_path / "abc").write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"abc is damaged: its SHA-256 begins with ba7816bf8f01.*make it"):
        io.verify_checksum(tmp_path / "abc", "0" * 64, advice="make it")


def test_read_npz_returns_the_saved_arrays(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=np.eye(3), labels=np.arange(3))
    arrays = io.read_npz(tmp_path / "a.npz")
    assert set(arrays) == {"images", "labels"}
    np.testing.assert_array_equal(arrays["images"], np.eye(3))
    assert set(io.read_npz(tmp_path / "a.npz", ["labels"])) == {"labels"}


def test_read_npz_does_not_execute_pickled_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    np.savez(tmp_path / "a.npz", images=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz is not a usable \.npz file"):
        io.read_npz(tmp_path / "a.npz")


def test_read_npz_names_a_missing_file_and_a_missing_array(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.npz"):
        io.read_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", photographs=np.eye(3))
    with pytest.raises(ValueError, match=r"it contains \['photographs'\], not \['images'\]"):
        io.read_npz(tmp_path / "a.npz", ["images"])


def test_read_npz_rejects_text_an_empty_file_and_a_single_array(tmp_path):
    path = tmp_path / "a.npz"
    for content in (b"", b"hello", b"PK"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a usable"):
            io.read_npz(path)
    with open(path, "wb") as file:
        np.save(file, np.eye(3))
    with pytest.raises(ValueError, match="not a usable"):
        io.read_npz(path)


def test_read_npz_detects_damage_in_every_byte(tmp_path, rng):
    """A few bytes of a zip file have no meaning. Changing any other raises an error that names the file."""
    path = tmp_path / "a.npz"
    images = rng.random((4, 5))
    np.savez_compressed(path, images=images)
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(io.read_npz(path, ["images"])["images"], images)
        except ValueError as error:
            assert str(path) in str(error), position


def test_read_npz_rejects_a_truncated_file(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.eye(5))
    whole = path.read_bytes()
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a usable"):
            io.read_npz(path)
