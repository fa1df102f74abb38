"""Keras and TensorFlow: `from swarmlearning.tf import SwarmCallback`."""

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.keras import SwarmCallback

__all__ = ["SwarmCallback", "SwarmError"]
