"""The license a node runs under. No license server named: the built-in community license, which blocks nothing."""

import logging

logger = logging.getLogger("swarm.license")


def acquire_license(feature: str) -> None:
    """Acquires the right to run this kind of node (`feature`, as `SL`)."""
    logger.info("Acquired the built-in community license for %s (no license server named)", feature)
