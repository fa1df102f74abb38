"""What a link between hosts can do by itself: a model over raw TLS."""

from contextlib import ExitStack
from time import perf_counter

from floor import Stream, serving, take, taking
from support.namespaces import Namespaces
from swarmlearning.identity.workspace import Workspace

SHORT_SECONDS = 10.0


def raw_seconds(hosts: Namespaces, identities: Workspace, here: int, there: int, size: int) -> float:
    """Seconds in which one TLS stream brings so many bytes from a host to another, once it has found its speed.

    Both ends are threads of this process. What takes long finds its speed on the way; what does not is done twice.
    """
    sender, receiver = (identities.identity(f"SL-{host}") for host in (here, there))
    with ExitStack() as stack:
        with hosts.within(here):
            port = stack.enter_context(serving(sender, size, hosts.address(here)))
        with hosts.within(there):
            stream = stack.enter_context(taking(receiver, port, "sockets", hosts.address(here)))
        seconds = _timed(stream, size)
        return _timed(stream, size) if seconds < SHORT_SECONDS else seconds


def _timed(stream: Stream, size: int) -> float:
    begin = perf_counter()
    take(stream, size)
    return perf_counter() - begin
