"""scikit-learn: `from swarmlearning.sklearn import SwarmCallback`."""

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.sklearn import SwarmCallback

__all__ = ["SwarmCallback", "SwarmError"]
