"""Lightning: `from swarmlearning.lightning import SwarmCallback`."""

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.lightning import SwarmCallback

__all__ = ["SwarmCallback", "SwarmError"]
