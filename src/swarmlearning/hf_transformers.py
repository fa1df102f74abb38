"""Hugging Face's Trainer: `from swarmlearning.hf_transformers import SwarmCallback`."""

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.huggingface import SwarmCallback

__all__ = ["SwarmCallback", "SwarmError"]
