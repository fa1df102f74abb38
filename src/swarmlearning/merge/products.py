"""Inner products of long vectors, fast: with BLAS, so the last bits depend on the machine.

They choose coefficients and describe contributors; no element of a result is computed from them. Vectors are taken in
tiles: BLAS starts no threads of its own for products so small, and the GIL is released once for all of them.
"""

from itertools import combinations_with_replacement
from typing import Final

import numpy as np

from swarmlearning.merge.arithmetic import Float32, Float64

_TILE: Final = 2048  # elements of a vector, at most
_SINGLE_TILE: Final = 128  # of float32: a sum of so many products is good to 4e-7, of equal ones to 2e-6
_PRODUCTS: Final = 2**17  # in a tile: with twice as many, OpenBLAS wakes threads, which wait for work at full speed
_GROUP: Final = 32  # vectors


def inner(a: Float64, b: Float64) -> float:
    """Σ aᵢ·bᵢ of two vectors (m,)."""
    whole = len(a) - len(a) % _TILE
    tiles = np.vecdot(a[:whole].reshape(-1, _TILE), b[:whole].reshape(-1, _TILE))
    return float(tiles.sum() + np.vecdot(a[whole:], b[whole:]))


def gram_matrix(rows: Float64 | Float32) -> Float64:
    """The inner products (n, n) of vectors (n, m) with each other, summed in float64.

    Of float32 vectors, the products within a tile are summed in float32.
    """
    count = len(rows)
    gram = np.empty((count, count))
    groups = [slice(start, start + _GROUP) for start in range(0, count, _GROUP)]
    for one, other in combinations_with_replacement(groups, 2):
        products = _products(rows[one], rows[other])
        gram[one, other], gram[other, one] = products, products.T
    return gram


def _products(a: Float64 | Float32, b: Float64 | Float32) -> Float64:
    """The inner products (n, k) of vectors (n, m) and (k, m)."""
    size = a.shape[1]
    tile = min(_SINGLE_TILE if a.dtype == np.float32 else _TILE, _PRODUCTS // (len(a) * len(b)))
    whole = size - size % tile
    left, right = (rows[:, :whole].reshape(len(rows), -1, tile).transpose(1, 0, 2) for rows in (a, b))
    tiles = np.matmul(left, right.transpose(0, 2, 1))
    products: Float64 = tiles.sum(axis=0, dtype=np.float64) + a[:, whole:] @ b[:, whole:].T
    return products
