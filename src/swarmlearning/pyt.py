"""PyTorch: `from swarmlearning.pyt import SwarmCallback`."""

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.torch import SwarmCallback

__all__ = ["SwarmCallback", "SwarmError"]
