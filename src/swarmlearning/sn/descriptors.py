"""The number of files that an SN's process may have open, connections among them."""

import resource
from typing import Final

MOST_DESCRIPTORS: Final = 8192


def raise_descriptor_limit() -> None:
    """Allows this process as many open files as the system grants: API and P2P port may have more than a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
