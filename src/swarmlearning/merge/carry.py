"""A straggler's work, carried over to a newer model: result = newer + s·(trained − base), s = 1/√(1 + missed).

What a site has learned since the model it started from is its *change*; added to the newest model it is an
asynchronous local update. Changes against old models point the less well the more rounds they have missed, so they
are damped polynomially with exponent 1/2, as in buffered asynchronous aggregation.

    J. Nguyen et al.: Federated Learning with Buffered Asynchronous Aggregation (FedBuff), AISTATS 2022.

Floats are computed in float64 and rounded once. Whatever is not a float (counters, masks) is that of the newer model,
and so is what the site has not changed, infinities and NaNs among it. From an infinity or NaN there is no change to
add: what the site has made of it counts if the newer model has still the same. Other NaNs and infinities of the
trained model stay: the round's leader finds them and names their tensor.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, narrow, widen
from swarmlearning.merge.constants import finite, same_bits
from swarmlearning.merge.merging import MergeError, Source, opened
from swarmlearning.merge.streaming import ModelUnreadable, OnRead, build, processors
from swarmlearning.tensors.file import Array, TensorFileError, read_header


def carry(trained: Path, base: Path, newer: Path, out: Path, missed: int, on_read: OnRead) -> None:
    """Writes the carried model to `out`. `missed` >= 1: rounds from `base` to `newer`. Raises MergeError."""
    paths = {"newer": newer, "trained": trained, "base": base}
    try:
        header = read_header(newer)
        for name, path in paths.items():
            if read_header(path) != header:
                raise MergeError(f"the {name} model has another structure than the latest result")
        sources = [Source(name, 1, path) for name, path in paths.items()]
        with opened(sources, header, None, threads=processors(), on_read=on_read) as models:
            build(models, partial(_carried, scale=damping(missed)), out)
    except ModelUnreadable as error:
        raise MergeError(f"the {error.uid} model cannot be read: {error.reason}") from error
    except TensorFileError as error:
        raise MergeError(str(error)) from error


def damping(missed: int) -> float:
    """The factor of a change that has missed so many rounds."""
    return 1 / math.sqrt(1 + missed)


def _carried(dtype: str, rows: Array, scale: float) -> Array:
    newer: Array = rows[0]
    if dtype not in FLOATS:
        return newer
    trained, base = rows[1], rows[2]
    result = narrow(dtype, widen(dtype, newer) + scale * (widen(dtype, trained) - widen(dtype, base)))
    unusual = ~finite(dtype, rows).all(axis=0)
    if unusual.any():
        kept = same_bits(trained, base) | ~finite(dtype, base)
        moved = ~same_bits(trained, base) & same_bits(newer, base)
        result = np.where(unusual & kept, np.where(moved, trained, newer), result)
    return result
