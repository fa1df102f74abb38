"""Values in 8 and 4 bits, and in bfloat16: the same bytes on every machine and for ever, and what no change has."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.choices import Transfer
from swarmlearning.merge.arithmetic import Float64
from swarmlearning.merge.coding import BLOCK, LARGEST, BadCodes, coded_size, decode, encode, scales_before
from swarmlearning.tensors.file import Array

SCALED: tuple[Transfer, ...] = ("int8", "int4")
SIZES_OF_FOUR: tuple[tuple[Transfer, int], ...] = (("int8", 4), ("int4", 2))
BITS_OF_NAN = "c07f"

values = st.lists(
    st.floats(-1e30, 1e30) | st.sampled_from([0.0, -0.0, 1e-45, -1e-40, 2.0**-126, 3.5, -0.5, 1e30]), max_size=200
).map(lambda drawn: np.array(drawn, np.float64))


def split(transfer: Transfer, coded: Array, count: int) -> tuple[Array, Array]:
    scales = 0 if transfer == "bfloat16" else scales_before(count)
    return coded[:scales], coded[scales:]


def decoded(transfer: Transfer, coded: Array, count: int) -> Float64:
    return -decode(transfer, *split(transfer, coded, count), count)


@pytest.mark.parametrize(
    ("transfer", "numbers", "coded"),
    [
        ("int4", [], ""),
        ("int4", [7.0, -7.0, 3.5, -3.5, 0.5, 1.5, 2.5], "803f" "97" "c4" "20" "02"),  # ties go to even
        ("int8", [127.0, -127.0, 0.5, 1.5, -2.5], "803f" "7f810002fe"),
        ("int8", [1.0], "023c" "7e"),  # 1/127 rounded up to bfloat16: the code is not the largest
        ("int4", [1.0, -0.5], "133e" "d7"),
        ("int4", [7 * 2.0**-126], "8000" "07"),
        ("int4", [7 * 2.0**-126 * (1 - 2.0**-52)], "0000" "00"),  # a subnormal scale is 0
        ("int8", [127 * 2.0**-127, -1e-45], "0000" "0000"),
        ("int8", [0.0, -0.0], "0000" "0000"),
        ("int4", [7 * 2.0**127 * 1.9921875], "7f7f" "07"),  # the largest scale
        ("int4", [1e300, 1.0], BITS_OF_NAN + "00"),
        ("int8", [math.inf, 1.0], BITS_OF_NAN + "0000"),
        ("int8", [1.0, math.nan], BITS_OF_NAN + "0000"),
        ("bfloat16", [1.0, -1.00390625, 1.01171875, -0.0, 1e-45], "803f" "80bf" "823f" "0080" "0000"),
        ("bfloat16", [1e300, -math.inf, 3.3895e38], BITS_OF_NAN * 2 + "7f7f"),
    ],
)  # fmt: skip
def test_the_codes_of_values_never_change_between_versions(
    transfer: Transfer, numbers: list[float], coded: str
) -> None:
    found, stands_for = encode(transfer, np.array(numbers, np.float64))
    assert found.tobytes().hex() == coded
    assert len(found) == coded_size(transfer, len(numbers))
    if BITS_OF_NAN in coded:
        with pytest.raises(BadCodes, match="too large"):
            decoded(transfer, found, len(numbers))
    else:
        assert stands_for.tolist() == decoded(transfer, found, len(numbers)).tolist()


@pytest.mark.parametrize("transfer", SCALED)
@given(numbers=values)
def test_a_value_is_at_most_half_a_step_away_and_nothing_is_clipped(transfer: Transfer, numbers: Float64) -> None:
    coded, stands_for = encode(transfer, numbers)
    assert decoded(transfer, coded, len(numbers)).tolist() == stands_for.tolist()
    scales = split(transfer, coded, len(numbers))[0].view("<u2").astype(np.uint32)
    steps = (scales << 16).view(np.float32)
    for block, step in enumerate(steps):
        own = numbers[block * BLOCK : (block + 1) * BLOCK]
        largest = max(Fraction(float(value)) for value in np.abs(own)) / LARGEST[transfer]
        if step == 0:
            assert largest < Fraction(2) ** -126 * (1 + Fraction(2) ** -52)
            assert not stands_for[block * BLOCK : (block + 1) * BLOCK].any()
            continue
        # The least bfloat16 that is not less, but for the rounding of the division.
        below = Fraction(float((np.uint32(scales[block] - 1) << np.uint32(16)).view(np.float32)))
        assert below * (1 - Fraction(2) ** -52) < largest <= Fraction(float(step)) * (1 + Fraction(2) ** -52)
        for value, found in zip(own, stands_for[block * BLOCK :], strict=False):
            away = abs(Fraction(float(value)) - Fraction(float(found)))
            assert away <= Fraction(float(step)) * (Fraction(1, 2) + Fraction(2) ** -40)


@given(numbers=values)
def test_bfloat16_rounds_to_the_nearest(numbers: Float64) -> None:
    coded, stands_for = encode("bfloat16", numbers)
    assert decoded("bfloat16", coded, len(numbers)).tolist() == stands_for.tolist()
    for value, found in zip(numbers, stands_for, strict=True):
        assert abs(value - found) <= max(abs(value) * 2.0**-8, 2.0**-134)


@pytest.mark.parametrize("transfer", ["bfloat16", *SCALED])
@given(numbers=values)
def test_the_other_sign_has_the_negative_codes(transfer: Transfer, numbers: Float64) -> None:
    stands_for, others = encode(transfer, numbers)[1], encode(transfer, -numbers)[1]
    assert (stands_for == -others).all()


@pytest.mark.parametrize("transfer", SCALED)
def test_each_block_has_a_scale_of_its_own(transfer: Transfer) -> None:
    numbers = np.repeat([1e-20, 1e20, 5.0], [BLOCK, BLOCK, 3])
    stands_for = encode(transfer, numbers)[1]
    np.testing.assert_allclose(stands_for, numbers, rtol=1 / LARGEST[transfer])


def test_subtracting_what_is_decoded_leaves_values_as_they_are_where_the_code_is_0() -> None:
    before = np.array([-0.0, 0.0, 1.0, -1.0])
    for transfer, size in SIZES_OF_FOUR:
        negative = decode(transfer, np.zeros(2, np.uint8), np.zeros(size, np.uint8), 4)
        assert (before - negative).tobytes() == before.tobytes()
    for zeros in ("0000", "0080"):
        negative = decode("bfloat16", np.zeros(0, np.uint8), np.frombuffer(bytes.fromhex(zeros * 4), np.uint8), 4)
        assert (before - negative).tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("transfer", "scales", "codes", "block", "message"),
    [
        ("int4", "803f", "08", 0, "the code -8 is no code"),
        ("int4", "803f", "80", 0, "the code -8 is no code"),
        ("int8", "803f" "803f", "00" * 64 + "0080", 1, "the code -128 is no code"),
        ("int8", "80bf", "0001", 0, "the scale is negative"),
        ("int8", "0080", "0000", 0, "the scale is negative"),
        ("int8", "7f00", "0001", 0, "the scale is subnormal"),
        ("int8", "0100", "0000", 0, "the scale is subnormal"),
        ("int4", "803f" "0100", "00" * 33, 1, "the scale is subnormal"),
        ("int8", "807f", "0001", 0, "the scale is no finite number"),
        ("int8", "80ff", "0001", 0, "the scale is no finite number"),
        ("int8", "c17f", "0000", 0, "the scale is no finite number"),
        ("int8", "c07f", "0000", 0, "its values are not finite, or too large"),
        ("int8", "0000", "0001", 0, "the scale is 0, and codes under it are not"),
        ("int4", "803f" "0000", "00" * 32 + "10", 1, "the scale is 0, and codes under it are not"),
        ("bfloat16", "", "0000" "807f", 0, "a value is not finite"),
        ("bfloat16", "", "0000" * 64 + "c1ff", 1, "a value is not finite"),
    ],
)  # fmt: skip
def test_bytes_that_no_change_is_coded_by_are_refused(
    transfer: Transfer, scales: str, codes: str, block: int, message: str
) -> None:
    given_codes = np.frombuffer(bytes.fromhex(codes), np.uint8)
    count = {"int4": 2 * len(given_codes), "int8": len(given_codes), "bfloat16": len(given_codes) // 2}[transfer]
    with pytest.raises(BadCodes, match=message) as failure:
        decode(transfer, np.frombuffer(bytes.fromhex(scales), np.uint8), given_codes, count)
    assert failure.value.block == block


def test_a_half_byte_that_is_left_over_is_0() -> None:
    scale = np.frombuffer(bytes.fromhex("803f"), np.uint8)
    assert decode("int4", scale, np.frombuffer(b"\x21\x03", np.uint8), 3).tolist() == [-1, -2, -3]
    with pytest.raises(BadCodes, match="half byte behind the last code"):
        decode("int4", scale, np.frombuffer(b"\x21\x13", np.uint8), 3)
