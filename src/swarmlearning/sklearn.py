"""scikit-learn: `from swarmlearning.sklearn import SwarmCallback, SwarmSklearnTrainer`."""

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.sklearn import SwarmCallback
from swarmlearning.client.sklearn_trainer import SwarmSklearnTrainer

__all__ = ["SwarmCallback", "SwarmError", "SwarmSklearnTrainer"]
