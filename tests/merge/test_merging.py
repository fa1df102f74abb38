"""The models of a merge, those left out with their reasons, and the errors when too few are left."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from merge.model_files import FLOAT_BITS, random_models, save, sources, stored
from swarmlearning.merge import merging, streaming
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.merging import (
    Exclusion,
    MergeError,
    NothingToMerge,
    Reason,
    Source,
    TooFewModels,
    merge,
)
from swarmlearning.merge.methods import METHODS
from swarmlearning.merge.streaming import Models, Plan
from swarmlearning.tensors.file import Array, Header, Tensor, read, read_header, write
from swarmlearning.tensors.structure import structure_digest

every_method = pytest.mark.parametrize("method", METHODS)


def three(tmp_path: Path) -> list[Source]:
    return sources(tmp_path, [{"v": np.full(2, value), "w": np.full(3, value)} for value in (1.0, 2.0, 6.0)])


def without(left_out: str, method: str, folder: Path) -> bytes:
    """The result of merging the other two."""
    kept = [source for source in three(folder) if source.uid != left_out]
    merge(method, kept, None, folder / "expected")
    return (folder / "expected").read_bytes()


# --- left out ---


@every_method
def test_a_model_of_weight_zero_is_left_out_unread(tmp_path: Path, method: str) -> None:
    first, second, _ = three(tmp_path)
    receipt = merge(method, [first, second, Source("z", 0, tmp_path / "none")], None, tmp_path / "out")
    assert receipt.contributors == ("a", "b")
    assert receipt.excluded == (Exclusion("z", Reason.WEIGHT),)
    assert (tmp_path / "out").read_bytes() == without("c", method, tmp_path)


@every_method
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("uid", ["a", "b", "c"])
def test_a_model_with_a_non_finite_value_is_left_out_and_its_tensor_named(
    tmp_path: Path, method: str, value: float, uid: str
) -> None:
    expected = without(uid, method, tmp_path)
    given_sources = three(tmp_path)
    bad = {"v": np.ones(2), "w": np.array([1.0, value, value])}
    save(tmp_path / uid, bad)
    receipt = merge(method, given_sources, None, tmp_path / "out", minimum=2)
    assert receipt.excluded == (Exclusion(uid, Reason.NON_FINITE, "w"),)
    assert uid not in receipt.contributors
    assert (tmp_path / "out").read_bytes() == expected


@every_method
@pytest.mark.parametrize("tag", FLOAT_BITS)
def test_non_finite_values_of_each_dtype_are_found(tmp_path: Path, method: str, tag: str) -> None:
    rows = random_models(tag, 4, 50)
    bad = rows[2].view(FLOAT_BITS[tag])
    bad[-1] = np.iinfo(bad.dtype).max  # NaN
    models = [{"good": stored(tag, row[:10]), "late": stored(tag, row[10:])} for row in rows]
    receipt = merge(method, sources(tmp_path, models), None, tmp_path / "out")
    assert receipt.excluded == (Exclusion("c", Reason.NON_FINITE, "late"),)


@every_method
def test_a_model_of_large_weight_that_is_not_finite_is_left_out_too(tmp_path: Path, method: str) -> None:
    models = [{"w": np.array([value])} for value in (1.0, np.nan, 3.0)]
    receipt = merge(method, sources(tmp_path, models, [1, 9, 1]), None, tmp_path / "out")
    assert receipt.excluded == (Exclusion("b", Reason.NON_FINITE, "w"),)
    assert read(tmp_path / "out")["w"].tolist() == [2.0]


@every_method
def test_a_model_of_small_weight_beside_one_of_large_weight_is_checked_too(tmp_path: Path, method: str) -> None:
    models = [{"w": np.array([value])} for value in (1.0, 2.0, np.inf)]
    receipt = merge(method, sources(tmp_path, models, [9, 1, 1]), None, tmp_path / "out")
    assert receipt.excluded == (Exclusion("c", Reason.NON_FINITE, "w"),)


@every_method
def test_a_model_of_another_structure_is_left_out_and_the_difference_named(tmp_path: Path, method: str) -> None:
    expected = without("a", method, tmp_path)
    given_sources = three(tmp_path)
    save(tmp_path / "a", {"v": np.ones(2, np.float32), "x": np.ones(3)})
    receipt = merge(method, given_sources, None, tmp_path / "out")
    assert receipt.excluded == (
        Exclusion("a", Reason.STRUCTURE, "'v' has dtype F32, expected F64; 'w' is missing; 'x' is extra"),
    )
    assert (tmp_path / "out").read_bytes() == expected


def test_the_previous_model_decides_which_structure_is_right(tmp_path: Path) -> None:
    odd, *rest = three(tmp_path)
    previous = save(tmp_path / "previous", {"w": np.zeros(1)})
    save(odd.path, {"w": np.ones(1)})
    receipt = merge("mean", [odd, *rest], previous, tmp_path / "out")
    assert receipt.contributors == ("a",)
    assert [exclusion.uid for exclusion in receipt.excluded] == ["b", "c"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_model_of_another_structure_excludes_nobody_else_however_often_it_is_sent(tmp_path: Path, count: int) -> None:
    honest, *rest = [Source(uid, 1, save(tmp_path / uid, {"w": np.ones(1)})) for uid in "zab"][: 1 + count]
    structure = structure_digest(read_header(honest.path).specs)
    for source in rest:
        save(source.path, {"x": np.full(1, 9.0)})  # as many bytes, another name
    receipt = merge("mean", [*rest, honest], None, tmp_path / "out", structure=structure)
    assert receipt.contributors == ("z",)
    assert set(receipt.excluded) == {
        Exclusion(source.uid, Reason.STRUCTURE, "'w' is missing; 'x' is extra") for source in rest
    }


def test_models_none_of_which_has_the_expected_structure_are_all_left_out(tmp_path: Path) -> None:
    with pytest.raises(TooFewModels, match="0 models can be merged") as raised:
        merge("mean", three(tmp_path), None, tmp_path / "out", structure="0" * 64)
    assert {exclusion.reason for exclusion in raised.value.excluded} == {Reason.STRUCTURE}


def test_the_first_uid_decides_between_two_structures_without_a_majority(tmp_path: Path) -> None:
    first, second, _ = three(tmp_path)
    save(second.path, {"w": np.ones(1)})
    assert merge("mean", [second, first], None, tmp_path / "out").contributors == ("a",)


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[:-1])
    elif kind == "no model":
        path.write_bytes(b"not a model file at all")
    elif kind == "a folder":
        path.unlink()
        path.mkdir()


@every_method
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("gone", "cannot be read: No such file or directory"),
        ("cut", "has .* bytes; its header describes"),
        ("no model", "announces a header"),
        ("a folder", "is not a regular file; write the model itself there"),
    ],
)
def test_an_unreadable_model_is_left_out_and_its_path_is_not_disclosed(
    tmp_path: Path, method: str, kind: str, reason: str
) -> None:
    expected = without("b", method, tmp_path)
    given_sources = three(tmp_path)
    damage(tmp_path / "b", kind)
    receipt = merge(method, given_sources, None, tmp_path / "out")
    ((uid, why, text),) = receipt.excluded
    assert (uid, why) == ("b", Reason.UNREADABLE)
    assert re.search(reason, text)
    assert str(tmp_path) not in text
    assert (tmp_path / "out").read_bytes() == expected


@pytest.mark.parametrize("kind", ["gone", "cut"])
def test_a_file_damaged_after_its_header_was_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    expected = without("b", "mean", tmp_path)
    given_sources = three(tmp_path)
    if kind == "cut":  # while open

        def method(models: Models) -> Plan:
            if len(models.uids) == 3:
                damage(tmp_path / "b", kind)
            return METHODS["mean"](models)

        monkeypatch.setitem(METHODS, "damaging", method)
    else:  # before it is opened

        def header_then_damage(path: Path) -> Header:
            header = read_header(path)
            if path.name == "b":
                damage(path, kind)
            return header

        monkeypatch.setattr(merging, "read_header", header_then_damage)
        monkeypatch.setitem(METHODS, "damaging", METHODS["mean"])
    receipt = merge("damaging", given_sources, None, tmp_path / "out")
    assert [exclusion.uid for exclusion in receipt.excluded] == ["b"]
    assert receipt.excluded[0].reason == Reason.UNREADABLE
    assert (tmp_path / "out").read_bytes() == expected


@every_method
def test_the_first_tensor_that_is_not_finite_is_named_for_any_block_size(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "block_elements", lambda models: 1)
    models = [{f"t{index:02}": np.ones(1) for index in range(40)} for _ in range(3)]
    models[1] |= {f"t{index}": np.full(1, np.nan) for index in (12, 13, 39)}
    receipt = merge(method, sources(tmp_path, models), None, tmp_path / "out")
    assert receipt.excluded == (Exclusion("b", Reason.NON_FINITE, "t12"),)


def test_several_models_are_left_out_at_once_in_uid_order(tmp_path: Path) -> None:
    values: list[dict[str, Array]] = [{"w": np.array([value])} for value in (np.nan, 1.0, np.inf, 2.0, 3.0)]
    values[4] = {"other": np.ones(1)}
    receipt = merge("mean", sources(tmp_path, values, [1, 1, 1, 0, 1])[::-1], None, tmp_path / "out")
    assert receipt.contributors == ("b",)
    assert receipt.excluded == (
        Exclusion("a", Reason.NON_FINITE, "w"),
        Exclusion("c", Reason.NON_FINITE, "w"),
        Exclusion("d", Reason.WEIGHT),
        Exclusion("e", Reason.STRUCTURE, "'other' is extra; 'w' is missing"),
    )


# --- refused ---


@every_method
def test_the_error_of_too_few_models_names_those_left_out(tmp_path: Path, method: str) -> None:
    given_sources = three(tmp_path)
    save(tmp_path / "a", {"v": np.ones(2), "w": np.array([np.nan, 1, 1])})
    with pytest.raises(TooFewModels, match=r"2 models can be merged, 3 are needed \(a: non-finite, w\)") as raised:
        merge(method, given_sources, None, tmp_path / "out", minimum=3)
    assert raised.value.excluded == (Exclusion("a", Reason.NON_FINITE, "w"),)


def test_a_merge_of_fewer_models_than_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooFewModels, match="3 models can be merged, 4 are needed"):
        merge("mean", three(tmp_path), None, tmp_path / "out", minimum=4)


def test_a_merge_of_no_model_is_refused_even_without_a_minimum(tmp_path: Path) -> None:
    with pytest.raises(TooFewModels, match="0 models"):
        merge("mean", [Source("a", 1, tmp_path / "none")], None, tmp_path / "out", minimum=0)
    only_nan = sources(tmp_path, [{"w": np.array([np.nan])}])
    with pytest.raises(TooFewModels, match="0 models"):
        merge("mean", only_nan, None, tmp_path / "out", minimum=0)


def test_weights_that_depend_on_who_is_merged_are_computed_again_without_those_left_out(tmp_path: Path) -> None:
    asked: list[set[str]] = []

    def weigh(weights: Mapping[str, int]) -> Mapping[str, int]:
        asked.append(set(weights))
        return {uid: weight * (5 if uid == "a" else len(weights)) for uid, weight in weights.items()}

    given_sources = three(tmp_path)
    save(tmp_path / "c", {"v": np.ones(2), "w": np.full(3, np.nan)})
    receipt = merge("mean", given_sources, None, tmp_path / "out", weigh=weigh)
    assert asked == [{"a", "b", "c"}, {"a", "b"}]
    assert (receipt.contributors, receipt.coefficients) == (("a", "b"), (5, 2))


@pytest.mark.parametrize("count", [0, 2])
def test_the_previous_model_stands_when_no_model_has_weight(tmp_path: Path, count: int) -> None:
    with pytest.raises(NothingToMerge, match="the previous model stands"):
        merge("mean", [Source(str(index), 0, tmp_path) for index in range(count)], None, tmp_path / "out")


def test_the_refusal_of_an_unknown_method_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(MergeError, match="'average'; there are mean, coordmedian, geomedian"):
        merge("average", three(tmp_path), None, tmp_path / "out")


def test_sources_with_invalid_weights_or_repeated_uids_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m", {"w": np.ones(1)})
    with pytest.raises(MergeError, match="a is given 2 times"):
        merge("mean", [Source("a", 1, path), Source("a", 1, path)], None, tmp_path / "out")
    with pytest.raises(MergeError, match="a has weight -1"):
        merge("mean", [Source("a", -1, path)], None, tmp_path / "out")
    with pytest.raises(MergeError, match="sum to more than"):
        merge("mean", [Source("a", GRID, path), Source("b", 1, path)], None, tmp_path / "out")


@pytest.mark.parametrize("alias", ["a", "previous", "link"])
def test_a_result_on_top_of_an_input_is_refused(tmp_path: Path, alias: str) -> None:
    given_sources = three(tmp_path)
    previous = save(tmp_path / "previous", {"v": np.ones(2), "w": np.ones(3)})
    (tmp_path / "link").symlink_to(tmp_path / "c")
    content = (tmp_path / alias).read_bytes()
    with pytest.raises(MergeError, match="would overwrite a model"):
        merge("mean", given_sources, previous, tmp_path / alias)
    assert (tmp_path / alias).read_bytes() == content


@pytest.mark.parametrize("tag", ["F8_E4M3", "F8_E5M2"])
def test_eight_bit_floats_are_refused_by_name(tmp_path: Path, tag: str) -> None:
    write(tmp_path / "m", {"quantised": Tensor(tag, (2,), b"12")})
    with pytest.raises(MergeError, match=f"'quantised' is {tag}, which cannot be merged"):
        merge("mean", [Source("a", 1, tmp_path / "m")], None, tmp_path / "out")


def test_a_previous_model_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MergeError, match="none: cannot be read"):
        merge("geomedian", three(tmp_path), tmp_path / "none", tmp_path / "out")


def test_the_error_of_a_merge_names_a_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with pytest.raises(MergeError, match="/dev/full: cannot be written: No space left"):
        merge("mean", three(tmp_path), None, Path("/dev/full"))


# --- the result ---


def test_a_merge_overwrites_an_old_result_in_place(tmp_path: Path) -> None:
    out = save(tmp_path / "out", {"w": np.ones(10_000)})
    inode = out.stat().st_ino
    merge("mean", three(tmp_path), None, out)
    assert out.stat().st_ino == inode
    assert read(out)["w"].tolist() == [3.0] * 3


def test_booleans_stored_as_other_numbers_count_as_true(tmp_path: Path) -> None:
    models = [{"m": Tensor("BOOL", (2,), content)} for content in (b"\x07\x00", b"\xff\x00", b"\x00\x01")]
    for method in METHODS:
        merge(method, sources(tmp_path, models), None, tmp_path / "out")
        assert read(tmp_path / "out")["m"].tolist() == [True, False]
