"""Keras and TensorFlow: `from swarmlearning.tf import SwarmCallback`."""

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.keras_version import require_keras_3

require_keras_3()

from swarmlearning.client.keras import SwarmCallback  # noqa: E402 - it uses what only Keras 3 has

__all__ = ["SwarmCallback", "SwarmError"]
