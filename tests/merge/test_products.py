"""Products in tiles and groups are those of the whole vectors."""

import numpy as np
import pytest

from swarmlearning.merge.products import gram_matrix, inner


@pytest.mark.parametrize(("count", "size"), [(1, 5), (3, 7000), (7, 0), (32, 5000), (33, 4097), (100, 1000)])
def test_the_gram_matrix_equals_the_inner_products_and_is_symmetric(count: int, size: int) -> None:
    rows = np.random.default_rng(0).standard_normal((count, size))
    gram = gram_matrix(rows)
    np.testing.assert_allclose(gram, np.einsum("im,jm->ij", rows, rows), rtol=0, atol=1e-10)
    assert gram.tobytes() == gram.T.tobytes()


@pytest.mark.parametrize("draw", ["noise", "steps of one size"])
@pytest.mark.parametrize(("count", "size"), [(3, 128), (8, 5000), (3, 400_000), (33, 4097)])
def test_the_gram_matrix_of_single_precision_keeps_its_error_bound(draw: str, count: int, size: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, size)).astype(np.float32)
    if draw == "steps of one size":  # the roundings of their products all go the same way
        rows = np.sign(rows) * (1 + rng.random((count, 1), np.float32))
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    error = np.abs(gram_matrix(rows) - wide @ wide.T) / np.outer(lengths, lengths)
    assert np.max(error) < (2.5e-6 if draw == "steps of one size" else 5e-7)


@pytest.mark.parametrize("size", [0, 1, 2048, 5000])
def test_the_inner_product_equals_that_of_numpy(size: int) -> None:
    a, b = np.random.default_rng(0).standard_normal((2, size))
    assert inner(a, b) == pytest.approx(float(np.einsum("m,m->", a, b)), abs=1e-10)
