"""The way back: what was merged, coded as a change of the base, and the same model made of it by all."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merge.model_files import save
from merge.test_changes import SHAPE, pair, stands_for, wide
from swarmlearning.merge import back
from swarmlearning.merge.back import code_back, code_model, decode_back, decode_model
from swarmlearning.merge.changes import Coding, Malformed, coded_back, coding_of
from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.streaming import Range
from swarmlearning.tensors import digest
from swarmlearning.tensors.file import read, read_header

PLAIN = ("bias", "small", "count", "mask", "z")


def coded(base: Path, merged: Path) -> tuple[Coding, Path, Path, int]:
    """The change, the file that took the merge's place, and the blocks that could not be coded."""
    coding, change, taken = coding_of("int8", read_header(base)), base.with_name("change"), base.with_name("taken")
    taken.write_bytes(merged.read_bytes())
    kept = code_model(coding, base, taken, change)
    assert change.stat().st_size == coding.size
    return coding, change, taken, kept


def of_floats(folder: Path, base: Any, merged: Any) -> tuple[Path, Path]:
    """Two models of one tensor that is coded, which begins with these values; the rest of both is 1."""
    paths = []
    for name, first in (("base", base), ("merged", merged)):
        values = np.ones(SHAPE, np.asarray(base).dtype)
        values.reshape(-1)[: len(first)] = first
        paths.append(save(folder / name, {"w": values}))
    return paths[0], paths[1]


def test_who_has_the_base_makes_the_model_that_the_merger_goes_on_from(tmp_path: Path) -> None:
    base, merged = pair(tmp_path)
    coding, change, taken, kept = coded(base, merged)
    out = tmp_path / "out"
    out.write_bytes(b"x" * 2 * taken.stat().st_size)  # it may hold anything before
    decode_model(coding, base, change, out)
    assert out.read_bytes() == taken.read_bytes()
    assert kept == 0
    found, exact, before = read(out), read(merged), read(base)
    for name in PLAIN:
        assert found[name].tobytes() == exact[name].tobytes(), name
    for name in exact.keys() - set(PLAIN):
        assert found[name].tobytes() not in (exact[name].tobytes(), before[name].tobytes()), name
        np.testing.assert_allclose(
            wide(name, found[name]), wide(name, exact[name]), atol=0.03 if name == "BF16" else 3e-3
        )
    assert change.stat().st_size < merged.stat().st_size


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(step=st.sampled_from([64, 192, 2**17]), chunk=st.sampled_from([4096, 2**14]))
def test_ranges_of_whole_chunks_are_together_the_whole(tmp_path: Path, step: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "LEAST_CHUNK", chunk)
        base, merged = pair(tmp_path)
        coding, change, taken, _ = coded(base, merged)
        patch.setattr(back, "_STEP", step)
        parts, other, out = tmp_path / "parts", tmp_path / "other", tmp_path / "out"
        parts.write_bytes(merged.read_bytes())
        size = coding.header.data_size
        for start in range(0, size, 2 * chunk):
            part = Range(start, min(start + 2 * chunk, size))
            code_back(coding, base, parts, other, part)
            decode_back(coding, base, other, out, part)
    head = coding.header.data_start
    assert parts.read_bytes() == taken.read_bytes()
    assert other.read_bytes()[head:] == change.read_bytes()[head:]
    assert out.read_bytes()[head:] == taken.read_bytes()[head:] == stands_for(coding, change, base)


@pytest.mark.parametrize(("dtype", "high"), [(np.float16, 0.0), (np.float32, 129 * 2.0**120), (np.float64, 0.0)])
def test_what_cannot_be_coded_stays_as_it_is_in_the_base(tmp_path: Path, dtype: Any, high: float) -> None:
    """From `high` to the largest number: the scale would be too large, or base and code give more than that."""
    largest = np.finfo(dtype).max
    begins = [0.0] * 64 + [float("inf"), 2.0] + [0.0] * 62 + [high] + [0.0] * 63 + [-0.0, 1.0]
    ends = [float("nan")] + [7.0] * 63 + [5.0, 3.0] + [1.0] * 62 + [largest] + [0.0] * 63 + [0.0, 2.0]
    base, merged = of_floats(tmp_path, np.array(begins, dtype), np.array(ends, dtype))
    coding, change, taken, kept = coded(base, merged)
    found, before = read(taken)["w"].reshape(-1), read(base)["w"].reshape(-1)
    assert found[:64].tobytes() == before[:64].tobytes()  # a block with NaN
    assert found[64] == np.inf  # the base is not finite there; the others of its block are coded
    np.testing.assert_allclose(found[65:128], [3.0] + [1.0] * 62, rtol=0.01)
    assert found[128:192].tobytes() == before[128:192].tobytes()  # it would be beyond the dtype, or the scales
    assert np.signbit(found[192])  # its code is 0, so it keeps its sign
    np.testing.assert_allclose(found[193], 2.0, rtol=0.01)
    assert kept == 2
    decode_model(coding, base, change, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == taken.read_bytes()


def test_a_value_whose_code_is_zero_keeps_its_bits() -> None:
    base = np.array([-0.0, 0.0, 1.0], np.float32)
    made = coded_back("int8", "F32", base, np.array([0.0, -0.0, 1.5], np.float32))
    assert made.values[:2].tobytes() == base[:2].tobytes()
    assert not made.kept


def test_codes_that_none_can_be_and_files_that_end_are_said(tmp_path: Path) -> None:
    base, merged = pair(tmp_path)
    coding, change, _, _ = coded(base, merged)
    whole = change.read_bytes()
    content = bytearray(whole)
    place = next(piece.at for piece in coding.pieces if piece.is_coded)
    content[place : place + 2] = b"\x80\xbf"
    change.write_bytes(content)
    with pytest.raises(Malformed, match="the scale is negative"):
        decode_model(coding, base, change, tmp_path / "out")
    change.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MergeError, match="too short"):
        decode_model(coding, base, change, tmp_path / "out")
    merged.write_bytes(merged.read_bytes()[:-8])
    with pytest.raises(MergeError, match="became shorter"):
        code_model(coding, base, merged, change)
    with pytest.raises(MergeError, match="No such file"):
        decode_model(coding, base, tmp_path / "none", tmp_path / "out")
