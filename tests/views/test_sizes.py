"""Numbers of bytes as people read them, the same in every command."""

import pytest

from swarmlearning.views.sizes import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_200_000, "1.2 MB"),
        (9_960_000, "10 MB"),
        (690_000_000, "690 MB"),
        (999_960_000, "1.0 GB"),
        (12_044_000_000, "12 GB"),
        (3_000_000_000_000_000_000, "3,000 PB"),
    ],
)
def test_a_size_has_two_digits_or_more_in_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert size_text(size) == text
