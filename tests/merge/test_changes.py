"""Coded changes as files: what they stand for, whichever way they are cut, and what is left out of them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merge.model_files import FLOAT_BITS, random_models, save, stored
from swarmlearning.choices import Transfer
from swarmlearning.merge import encoding
from swarmlearning.merge.changes import Coding, coding_of, fill
from swarmlearning.merge.coding import LARGEST
from swarmlearning.merge.encoding import EncodingError, Residual, encode_change
from swarmlearning.merge.merging import MergeError, Reason, Source, merge
from swarmlearning.merge.ranges import merge_range
from swarmlearning.merge.streaming import ModelMalformed, Range
from swarmlearning.tensors import digest
from swarmlearning.tensors.digest import Layout, ModelDigest, digest_file, digest_laid_out
from swarmlearning.tensors.file import DTYPES, Array, read, read_header

every_transfer = pytest.mark.parametrize("transfer", ["bfloat16", "int8", "int4"])
CODED = ("F64", "F32", "F16", "BF16")
NOT_FINITE = {
    "F64": (0x7FF << 52, 0xFFF8 << 48 | 5),
    "F32": (0x7F800000, 0xFFC00001),
    "F16": (0x7C00, 0xFE01),
    "BF16": (0x7F80, 0xFFC1),
}
BASE = "ab" * 32
SHAPE = (33, 37)
"""A tensor that is coded; its number of values is odd and leaves a block unfinished."""


def tensor(tag: str, rows: Array, shape: tuple[int, ...] = SHAPE) -> Any:
    return stored(tag, rows.reshape(shape))


def wide(tag: str, array: Array) -> Array:
    return (array.astype(np.uint32) << 16).view(np.float32) if tag == "BF16" else array


def pair(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """A base and what a site has made of it, with tensors of all kinds."""
    rng = np.random.default_rng(seed)
    base: dict[str, Any] = {"bias": np.ones(2000, np.float32), "small": np.ones((30, 30), np.float32)}
    base |= {"count": np.int64(3), "mask": np.zeros(SHAPE, np.bool_), "z": np.ones(SHAPE, np.complex64)}
    model: dict[str, Any] = {"bias": base["bias"] * 2, "small": base["small"] * 3}
    model |= {"count": np.int64(4), "mask": np.ones(SHAPE, np.bool_), "z": base["z"] * 2}
    for tag in CODED:
        values = rng.standard_normal(SHAPE)
        for held, tensors in ((base, values), (model, values + 0.01 * rng.standard_normal(SHAPE))):
            single = tensors.astype(np.float32)
            array = (single.view(np.uint32) >> 16).astype(np.uint16) if tag == "BF16" else tensors.astype(DTYPES[tag])
            held[tag] = stored(tag, array)
    return save(folder / "base", {k: np.asarray(v) if isinstance(v, np.generic) else v for k, v in base.items()}), save(
        folder / "model", {k: np.asarray(v) if isinstance(v, np.generic) else v for k, v in model.items()}
    )


def coded(transfer: Transfer, base: Path, model: Path, **options: Any) -> tuple[Coding, Path]:
    coding, out = coding_of(transfer, read_header(base)), base.with_name(f"{model.name} coded")
    encode_change(coding, model, base, out, **options)
    assert out.stat().st_size == coding.size
    return coding, out


def stands_for(coding: Coding, change: Path, base: Path, cuts: Sequence[int] = ()) -> bytes:
    """The data section of the model that a change stands for, read in these pieces."""
    data = np.zeros(coding.header.data_size, np.uint8)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    with change.open("rb") as one, base.open("rb") as other:
        for start, stop in pairwise(bounds):
            assert fill(coding, one.fileno(), other.fileno(), start, data[start:stop])
    return data.tobytes()


def model_of(coding: Coding, change: Path, base: Path) -> Path:
    out = base.with_name("decoded")
    out.write_bytes(base.read_bytes()[: coding.header.data_start] + stands_for(coding, change, base))
    return out


@every_transfer
def test_large_tensors_of_floats_are_coded_and_all_others_are_as_they_are(tmp_path: Path, transfer: Transfer) -> None:
    base, model = pair(tmp_path)
    coding, change = coded(transfer, base, model)
    found, trained, before = read(model_of(coding, change, base)), read(model), read(base)
    for name in trained.keys() - set(CODED):
        assert found[name].tobytes() == trained[name].tobytes(), name
    for tag in CODED:
        step = 0.05 / LARGEST.get(transfer, 127)
        rounding = {"BF16": 0.02, "F16": 0.002}.get(tag, 1e-6)
        np.testing.assert_allclose(wide(tag, found[tag]), wide(tag, trained[tag]), atol=step + rounding)
        assert found[tag].tobytes() != before[tag].tobytes()
    assert change.stat().st_size < model.stat().st_size
    assert coding.coded_values == 4 * 33 * 37


def test_what_the_script_calls_a_buffer_is_as_it_is(tmp_path: Path) -> None:
    base, model = pair(tmp_path)
    coding = coding_of("int4", read_header(base), ["F32"])
    encode_change(coding, model, base, tmp_path / "out")
    assert read(model_of(coding, tmp_path / "out", base))["F32"].tobytes() == read(model)["F32"].tobytes()
    assert coding.coded_values == 3 * 33 * 37


@every_transfer
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.integers(0, 60_000 // 8), max_size=8), step=st.sampled_from([192, 2**17]))
def test_any_range_stands_for_the_same_bits(tmp_path: Path, transfer: Transfer, cuts: list[int], step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "LEAST_CHUNK", 4096)
        patch.setattr(encoding, "_STEP", step)
        base, model = pair(tmp_path)
        coding, change = coded(transfer, base, model)
        whole = stands_for(coding, change, base)
        assert stands_for(coding, change, base, [8 * cut for cut in cuts]) == whole
        patch.setattr(encoding, "_STEP", 320)
        assert coded(transfer, base, model)[1].read_bytes() == change.read_bytes()


@every_transfer
def test_a_chunk_of_a_change_is_a_chunk_of_the_model_and_needs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transfer: Transfer
) -> None:
    monkeypatch.setattr(digest, "LEAST_CHUNK", 4096)
    base, model = pair(tmp_path)
    coding, change = coded(transfer, base, model)
    whole, plain = stands_for(coding, change, base), digest_file(base, format=2).layout
    info = digest_laid_out(change, coding.layout(BASE))
    assert info.layout.count == plain.count > 10
    assert ModelDigest.from_bytes(info.to_bytes()) == info
    assert info.chunks[0] == digest_file(base, format=2).chunks[0]
    for chunk in range(1, plain.count):
        start, stop = (at - coding.header.data_start for at in plain.bounds(chunk))
        alone = tmp_path / "alone"
        first, last = info.layout.bounds(chunk)
        alone.write_bytes(bytes(first) + change.read_bytes()[first:last])
        other = tmp_path / "other"
        other.write_bytes(
            bytes(start + coding.header.data_start) + base.read_bytes()[start + coding.header.data_start :]
        )
        row = np.zeros(stop - start, np.uint8)
        with alone.open("rb") as one, other.open("rb") as two:
            assert fill(coding, one.fileno(), two.fileno(), start, row)
        assert row.tobytes() == whole[start:stop]


def test_a_chunk_list_of_a_change_never_changes_between_versions() -> None:
    info = ModelDigest(40, (bytes(32), b"\x01" * 32), 16, (16, 24), BASE)
    stated = b"swarm-coded-1" + (40).to_bytes(8, "little") + (16).to_bytes(4, "little") + b"\xab" * 32
    stated += (16).to_bytes(4, "little") + (24).to_bytes(4, "little") + bytes(32) + b"\x01" * 32
    assert info.to_bytes() == stated
    assert ModelDigest.from_bytes(stated) == info
    assert [info.layout.bounds(index) for index in range(2)] == [(0, 16), (16, 40)]
    assert (info.layout.touched(15, 17), info.layout.touched(16, 40)) == (range(2), range(1, 2))
    assert Layout(40, 16, (16, 24)) != Layout(40, 16)
    assert Layout(40, 16, (16, 24), BASE) != Layout(40, 16, (16, 24), "0" * 64)


@pytest.mark.parametrize(
    "lengths", [(), (16,), (24, 16), (16, 24, 0), (16, 23), (16, 2**32 - 1), (16, *[0] * 4096, 24)]
)
def test_chunk_lists_that_no_change_has_are_refused(lengths: tuple[int, ...]) -> None:
    stated = ModelDigest(40, (bytes(32),) * len(lengths), 16, lengths, BASE).to_bytes()
    if not lengths:
        stated = b"swarm-coded-1" + stated[13:]
    with pytest.raises(digest.DigestError, match="does not fit a coded change of 40 bytes"):
        ModelDigest.from_bytes(stated)
    with pytest.raises(digest.DigestError):
        ModelDigest.from_bytes(stated[:-1])


@pytest.mark.parametrize("tag", CODED)
@every_transfer
def test_what_is_not_finite_in_the_base_stays_and_so_does_what_nobody_changes(
    tmp_path: Path, transfer: Transfer, tag: str
) -> None:
    kind = FLOAT_BITS[tag]
    bits = random_models(tag, 1, 33 * 37)[0].copy().view(kind)
    infinity, nan = NOT_FINITE[tag]
    bits[:3] = infinity, nan, 1 << (8 * bits.itemsize - 1)  # the last is -0.0
    base = save(tmp_path / "base", {"w": tensor(tag, bits.view(DTYPES[tag]))})
    changed = bits.copy()
    changed[0] = 0  # finite where the base is not
    model = save(tmp_path / "model", {"w": tensor(tag, changed.view(DTYPES[tag]))})
    assert stands_for(*coded(transfer, base, model), base) == bits.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_change_that_is_not_finite_is_left_out_by_name(tmp_path: Path, value: float) -> None:
    base, model = (np.full(SHAPE, -3e38, np.float32) for _ in range(2))
    model[2, 5] = value
    paths = [save(tmp_path / name, {"w": array}) for name, array in (("base", base), ("model", model))]
    for transfer in ("bfloat16", "int8", "int4"):
        coding, change = coded(transfer, *paths)
        given_sources = [Source("a", 1, change, coding), Source("b", 1, paths[0])]
        if np.isfinite(value) and transfer != "bfloat16":  # a scale says that much
            assert merge("mean", given_sources, paths[0], tmp_path / "out").excluded == ()
            continue
        receipt = merge("mean", given_sources, paths[0], tmp_path / "out")
        (left_out,) = receipt.excluded
        assert left_out[:2] == ("a", Reason.NON_FINITE)
        assert "'w', block of values from 64: " in left_out.detail
        assert receipt.contributors == ("b",)


@every_transfer
def test_changes_are_merged_as_the_models_that_they_stand_for(tmp_path: Path, transfer: Transfer) -> None:
    base, models = None, []
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        base, model = pair(tmp_path / str(seed))
        rng = np.random.default_rng(seed)
        drifted = {name: array for name, array in read(model).items() if name not in ("mask", "BF16")}
        drifted["F32"] = drifted["F32"] + rng.standard_normal(SHAPE).astype(np.float32)
        kept = read(model)
        models.append(
            save(model.with_name("drifted"), {**drifted, "mask": kept["mask"], "BF16": stored("BF16", kept["BF16"])})
        )
    assert base is not None
    changes, plain = [], []
    for index, model in enumerate(models):
        coding, change = coded(transfer, base, model)
        changes.append(Source("abc"[index], index + 1, change.rename(tmp_path / f"change {index}"), coding))
        decoded = model_of(coding, changes[-1].path, base).rename(tmp_path / f"decoded {index}")
        plain.append(Source("abc"[index], index + 1, decoded))
    for method in ("mean", "coordmedian", "geomedian"):
        ours = merge(method, changes, base, tmp_path / "ours", influence=True)
        theirs = merge(method, plain, base, tmp_path / "theirs", influence=True)
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
        assert ours == theirs
    mixed = [changes[0], plain[1], changes[2]]  # a site may give the base itself
    merge("mean", mixed, base, tmp_path / "ours")
    merge("mean", plain, base, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_a_range_names_a_malformed_change_and_a_whole_merge_goes_on_without_it(tmp_path: Path) -> None:
    base, model = pair(tmp_path)
    coding, change = coded("int8", base, model)
    bad = tmp_path / "bad"
    content = bytearray(change.read_bytes())
    piece = next(each for each in coding.pieces if each.entry.name == "F32")
    content[piece.at + 1] |= 0x80
    bad.write_bytes(content)
    given_sources = [Source("a", 1, change, coding), Source("b", 1, bad, coding)]
    with pytest.raises(ModelMalformed, match="'F32', block of values from 0: the scale is negative") as failure:
        merge_range("mean", given_sources, base, tmp_path / "out", coding.header, Range(0, coding.header.data_size))
    assert failure.value.uid == "b"
    assert [each[:2] for each in merge("mean", given_sources, base, tmp_path / "out").excluded] == [("b", "malformed")]
    short = Source("b", 1, tmp_path / "short", coding)
    short.path.write_bytes(change.read_bytes()[:-1])
    assert [each[:2] for each in merge("mean", [given_sources[0], short], base, tmp_path / "out").excluded] == [
        ("b", "unreadable")
    ]
    with pytest.raises(MergeError, match="a gives a change, and there is no previous result that it changes"):
        merge("mean", given_sources, None, tmp_path / "out")


def test_a_change_with_another_header_than_its_base_is_left_out_as_it_is_in_slices(tmp_path: Path) -> None:
    base, model = pair(tmp_path)
    coding, change = coded("int8", base, model)
    other = tmp_path / "other"
    other.write_bytes(change.read_bytes().replace(b"{", b" ", 1))
    given_sources = [Source("a", 1, change, coding), Source("b", 1, other, coding)]
    receipt = merge("mean", given_sources, base, tmp_path / "out")
    assert [(each.uid, each.reason) for each in receipt.excluded] == [("b", "structure")]
    assert "differs from that of the model that it changes" in receipt.excluded[0].detail
    other.write_bytes(b"")
    receipt = merge("mean", given_sources, base, tmp_path / "out")
    assert [(each.uid, each.reason, each.detail) for each in receipt.excluded] == [
        ("b", "unreadable", "is shorter than the header of its models")
    ]


@every_transfer
@pytest.mark.parametrize("tag", CODED)
def test_what_was_merged_and_what_is_left_out_are_together_what_was_trained(
    tmp_path: Path, transfer: Transfer, tag: str
) -> None:
    rng, base = np.random.default_rng(3), save(tmp_path / "base", {"w": tensor(tag, random_models(tag, 1, 1221)[0])})
    total, kept, before = np.zeros(33 * 37), np.zeros(33 * 37), wide(tag, read(base)["w"]).astype(np.float64).ravel()
    given_all, residual = np.zeros(33 * 37), None
    for number in range(4):
        change = np.abs(before).max() * 0.3 * rng.standard_normal(33 * 37)
        values = (before + change).astype(np.float32 if tag == "BF16" else DTYPES[tag])
        array = (values.view(np.uint32) >> 16).astype(np.uint16) if tag == "BF16" else values
        model = save(tmp_path / "model", {"w": tensor(tag, array)})
        after = tmp_path / f"left {number}"
        coding, out = coded(transfer, base, model, residual=Residual(residual, after))
        found = wide(tag, np.frombuffer(stands_for(coding, out, base), DTYPES[tag])).astype(np.float64)
        total += wide(tag, array).astype(np.float64).ravel() - before
        given_all += found - before
        residual, kept = after, np.fromfile(after, np.float32).astype(np.float64)
        np.testing.assert_allclose(given_all + kept, total, rtol=1e-5, atol=1e-6 * np.abs(before).max())
    assert np.linalg.norm(kept) < np.linalg.norm(change)
    assert np.linalg.norm(kept) > 0


@every_transfer
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 2**31), norm=st.floats(1e-3, 1e3), large=st.booleans(), tag=st.sampled_from(CODED))
def test_a_norm_that_a_site_promises_is_kept_by_what_is_decoded(
    tmp_path: Path, transfer: Transfer, seed: int, norm: float, large: bool, tag: str
) -> None:
    rng = np.random.default_rng(seed)
    before = rng.standard_normal((2, 33 * 37))
    change = rng.standard_normal((2, 33 * 37)) * 10.0 ** rng.integers(-4, 1, (2, 33 * 37))
    change *= 0.9 * norm / np.linalg.norm(change)

    def model(name: str, rows: Array) -> Path:
        single = rows.astype(np.float32)
        own = (single.view(np.uint32) >> 16).astype(np.uint16) if tag == "BF16" else rows.astype(DTYPES[tag])
        tensors: Mapping[str, Any] = {"w": tensor(tag, own[0]), "flat": stored(tag, own[1])}
        return save(tmp_path / name, tensors)

    base, trained = model("base", before), model("model", before + change)
    promised = max(norm, _length(tag, trained, base))  # the model itself keeps it: what is given is only rounded
    residual = np.full(33 * 37, norm if large else norm / 1000, np.float32)
    (tmp_path / "before").write_bytes(residual.tobytes())
    feedback = Residual(tmp_path / "before", tmp_path / "after")
    coding, out = coded(transfer, base, trained, residual=feedback, norm=promised)
    assert _length(tag, model_of(coding, out, base), base) <= promised
    left = np.fromfile(tmp_path / "after", np.float32)
    if large:
        assert np.linalg.norm(left) < np.linalg.norm(residual)  # what was cut off is not kept


def _length(tag: str, model: Path, base: Path) -> float:
    one, other = read(model), read(base)
    return float(np.sqrt(sum(np.square(wide(tag, one[n]).astype(np.float64) - wide(tag, other[n])).sum() for n in one)))


def test_another_structure_is_not_coded(tmp_path: Path) -> None:
    base, model = pair(tmp_path)
    other = save(tmp_path / "other", {"w": np.ones(SHAPE)})
    with pytest.raises(EncodingError, match="other: has another structure"):
        encode_change(coding_of("int8", read_header(base)), other, base, tmp_path / "out")
    with pytest.raises(EncodingError, match="nowhere"):
        encode_change(coding_of("int8", read_header(base)), model, base, tmp_path / "nowhere" / "out")


def test_nothing_is_left_open(tmp_path: Path) -> None:
    base, model = pair(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    coded("int8", base, model, residual=Residual(None, tmp_path / "after"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
