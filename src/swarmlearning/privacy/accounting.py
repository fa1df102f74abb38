"""The ε of all that was given with Gaussian noise, by `dp-accounting`.

Releases with the noise multipliers z₁ … zₙ, each chosen with knowledge of those before, compose to exactly one release
with z = 1/√(Σ 1/zᵢ²) (Dong, Roth, Su: Gaussian Differential Privacy, 2022, corollary 3.3). The library's function for
one Gaussian release is exact too (Balle, Wang: Improving the Gaussian Mechanism, 2018). Its accountants of privacy loss
distributions give the same to four digits, but need seconds and gigabytes for little noise.

Nothing is gained here by sampling: no amplification is claimed, neither by the script's batches nor by who takes part.
"""

import math
from collections.abc import Iterable

from swarmlearning.errors import UserError


class AccountingError(UserError):
    """The library that composes ε is not installed, or cannot be used."""


def composed_epsilon(noises: Iterable[float], delta: float) -> float:
    """ε at `delta` of releases with these noise multipliers (standard deviation / sensitivity, each > 0); 0 of none.

    Raises `AccountingError`.
    """
    squares = math.fsum(1 / noise**2 for noise in noises)
    if not squares:
        return 0.0
    try:
        from dp_accounting.gaussian_mechanism import get_epsilon_gaussian
    except ImportError as error:
        raise AccountingError(
            f"a privacy policy with noise needs the library dp-accounting ({error}): `pip install "
            "swarmlearning[privacy]`, in a container too; the images of this version have it"
        ) from error
    return float(get_epsilon_gaussian(1 / math.sqrt(squares), delta))
