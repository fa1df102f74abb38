"""The metrics that the documentation lists."""

from reference.metrics import names


def documented() -> set[str]:
    """All of them, by the names that Prometheus shows."""
    return names()
