"""Golden vectors: right by exact arithmetic, the same for any features of the processor, and a fault in one thread is
found there."""

import ctypes
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from merge.model_files import save, sources
from swarmlearning.merge import selfcheck
from swarmlearning.merge.merging import merge
from swarmlearning.merge.outer import Outer
from swarmlearning.merge.selfcheck import VECTORS, DifferentArithmetic, Vector, check_bits
from swarmlearning.merge.stepping import take_step

CHECK = "from swarmlearning.merge.selfcheck import check_bits; check_bits(); print('the same')"


def test_this_machine_computes_the_golden_vectors() -> None:
    check_bits()


def test_the_means_among_them_are_exact_ones_rounded_once_half_to_even() -> None:
    """By fractions: of 1 and 3 halves of the least float32; two floats next to each other, and the largest."""
    least = Fraction(1, 2**149)
    expected = next(vector.expected for vector in VECTORS if vector.name == "mean of F32")
    found = np.frombuffer(bytes.fromhex(expected), np.float32)
    assert [round(Fraction(one, 2)) * least for one in (1, 3)] == [Fraction(float(one)) for one in found[:2]]
    assert (np.signbit(found[2]), found[3], found[4]) == (True, 1.0, np.finfo(np.float32).max)


def test_a_vector_that_comes_out_otherwise_is_named_with_what_it_is() -> None:
    wrong = Vector("a sum", lambda: b"\x01", "02")
    with pytest.raises(DifferentArithmetic, match=r"a sum: 01 instead of 02.*NumPy.*features"):
        check_bits([*VECTORS, wrong])


def test_the_vectors_are_the_same_without_the_processors_features() -> None:
    dispatched = " ".join(np._core._multiarray_umath.__cpu_dispatch__)  # type: ignore[attr-defined]
    for disabled in {"", dispatched}:
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled, "PYTHONWARNINGS": "ignore"}
        if not disabled:
            del environment["NPY_DISABLE_CPU_FEATURES"]
        done = subprocess.run(
            [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=150, check=False
        )
        assert done.stdout == "the same\n", done.stderr


def flush_to_zero() -> None:
    """Sets this thread's processor as a library does that was built with -ffast-math."""
    libm, state = ctypes.CDLL("libm.so.6"), (ctypes.c_uint32 * 64)()
    place, mask = (7, 0x8040) if platform.machine() == "x86_64" else (0, 1 << 24)
    assert libm.fegetenv(state) == 0
    state[place] |= mask
    assert libm.fesetenv(state) == 0


def in_flushing_thread(work: Callable[[], object]) -> BaseException | None:
    """What `work` raises in a thread of its own, whose processor flushes subnormals to zero."""
    raised: list[BaseException] = []

    def run() -> None:
        flush_to_zero()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - returned
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


needs_glibc = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64") or platform.libc_ver()[0] != "glibc",
    reason="how to set the processor is known for these only",
)


@needs_glibc
def test_a_thread_that_flushes_subnormals_merges_and_steps_nothing(tmp_path: Path) -> None:
    model = {"w": np.ones(4, np.float32)}
    files = sources(tmp_path, [model, model])
    base = save(tmp_path / "base", model)

    def merge_all() -> object:
        return merge("mean", files, None, tmp_path / "out")

    def step() -> object:
        outer = Outer("nesterov", 0.7, 0.9)
        return take_step(outer, base, None, files[0].path, {"w"}, tmp_path / "x", tmp_path / "v")

    for work in (merge_all, step):
        error = in_flushing_thread(work)
        assert isinstance(error, DifferentArithmetic), work
        assert "flushed to zero" in str(error)
        assert "mean of F32" in str(error)
    assert merge_all()
    assert not selfcheck.flushes_subnormals()


@needs_glibc
def test_a_pools_threads_are_checked_too(tmp_path: Path) -> None:
    """They inherit the state of the thread that makes them."""
    model = {"w": np.ones(2**19, np.float32)}
    files = sources(tmp_path, [model, model])
    error = in_flushing_thread(lambda: merge("mean", files, None, tmp_path / "out", threads=2))
    assert isinstance(error, DifferentArithmetic)
