"""The one error that user scripts see."""


class SwarmError(Exception):
    """Swarm training cannot go on; the message contains what failed, where, and what to do."""
