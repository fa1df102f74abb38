"""Gaussian noise from a cryptographic generator: AES-256 in counter mode under a key that exists nowhere else.

NumPy's generators are not enough, however they are seeded: where the observer knows the change, as in a value that
training never touches, what is given shows the noise itself, and from some of it their state can be computed, and so
the noise of all other values.

The transform is that of Box and Muller, on 64-bit uniform numbers, in float64. Not covered are attacks on
floating-point arithmetic: the values that a computed Gaussian can take have gaps, which depend on the change, and the
tail ends at 9.4 standard deviations (5·10⁻²¹ of the distribution).
"""

import secrets
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from swarmlearning.merge.arithmetic import Float64

KEY_BYTES: Final = 32
_COUNTER: Final = bytes(16)


class Noise:
    """A stream of independent standard normal numbers; of its own for each object. Not for several threads at once."""

    def __init__(self, key: bytes = b"") -> None:
        """`key`: 32 bytes for tests, where the same numbers are due; else from the operating system."""
        self._stream = Cipher(AES256(key or secrets.token_bytes(KEY_BYTES)), CTR(_COUNTER)).encryptor()

    def normal(self, count: int) -> Float64:
        """`count` numbers, as a new array (count,)."""
        half = -(-count // 2)
        uniform = self._uniform(2 * half)
        radius, angle = uniform[:half], uniform[half:]
        np.log(radius, out=radius)
        radius *= -2
        np.sqrt(radius, out=radius)
        angle *= 2 * np.pi
        numbers = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
        return numbers[:count]

    def _uniform(self, count: int) -> Float64:
        """Numbers above 0 and up to 1."""
        drawn = np.frombuffer(self._stream.update(bytes(8 * count)), np.uint64)
        return (drawn.astype(np.float64) + 0.5) * 2.0**-64
