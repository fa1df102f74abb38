"""Inner products of long vectors, fast: with BLAS, so the last bits depend on the machine.

They choose coefficients and describe contributors; no element of a result is computed from them. Vectors are taken in
tiles: BLAS starts no threads of its own for products so small, and the GIL is released once for all of them.
"""

from typing import Final

import numpy as np

from swarmlearning.merge.arithmetic import Float64

_LONGEST: Final = 2048  # elements of a vector in a tile
_SHORTEST: Final = 64
_PRODUCTS: Final = 2**17  # in a tile: with twice as many, OpenBLAS wakes threads, which wait for work at full speed


def inner(a: Float64, b: Float64) -> float:
    """Σ aᵢ·bᵢ of two vectors (m,)."""
    whole = len(a) - len(a) % _LONGEST
    tiles = np.vecdot(a[:whole].reshape(-1, _LONGEST), b[:whole].reshape(-1, _LONGEST))
    return float(tiles.sum() + np.vecdot(a[whole:], b[whole:]))


def gram_matrix(rows: Float64) -> Float64:
    """The inner products (n, n) of vectors (n, m) with each other."""
    count, size = rows.shape
    tile = min(_LONGEST, max(_SHORTEST, _PRODUCTS // count**2))
    whole = size - size % tile
    tiles = rows[:, :whole].reshape(count, -1, tile).transpose(1, 0, 2)
    rest = rows[:, whole:]
    products: Float64 = np.matmul(tiles, tiles.transpose(0, 2, 1)).sum(axis=0) + rest @ rest.T
    return products
