"""An identity from a SPIFFE Workload API: the agent on this host issues it, and pushes each change.

The agent gives a certificate (X.509-SVID) with its key, and the roots of trust domains: of its own one, and of those
with which it is federated. All of it is in memory only. While the agent is away the node goes on with what it has; the
agent is asked again until it returns. The library for this, `spiffe`, is an extra, and is imported here alone.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from swarmlearning.backoff import Backoff
from swarmlearning.identity.certificates import CertificateError, load_der, role_of, spiffe_id, thumbprint
from swarmlearning.identity.identity import Bundle, Identity, IdentityError
from swarmlearning.identity.source import Latest

if TYPE_CHECKING:
    from spiffe import WorkloadApiClient
    from spiffe.workloadapi.x509_context import X509Context

logger = logging.getLogger("swarm.identity")

SOCKET_VARIABLE: Final = "SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH"
ANSWER_SECONDS: Final = 10.0
"""An agent that has an identity for this process has answered by then."""
START_SECONDS: Final = 15.0
"""A start waits so long for an agent that is starting too, or has yet to learn of this node."""
LONGEST_PAUSE: Final = 5.0
"""Seconds between two attempts to reach an agent that is away."""

_QUIET: Final = {"GRPC_ENABLE_FORK_SUPPORT": "0", "GRPC_VERBOSITY": "NONE"}

NO_LIBRARY = (
    f"--socket-path ({SOCKET_VARIABLE}) needs the library of the SPIFFE Workload API, which is not "
    "installed: pip install 'swarmlearning[spiffe]'"
)

Anchors = Callable[[], tuple[x509.Certificate, ...]]
"""The authorities to trust beside those of the agent, read anew. Raises `IdentityError`."""


def fetch(socket: Path, anchors: Anchors = tuple, seconds: float = START_SECONDS, role: str = "") -> Identity:
    """The identity that the agent at this socket has for this process; of several, the first for `role`.

    Asks again for `seconds` while the agent is not there or has none. Raises `IdentityError` with the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with _client(socket) as client:
                return _identity(client.fetch_x509_context(ANSWER_SECONDS), socket, anchors(), None, role)
        except _errors() as error:
            if time.monotonic() >= deadline:
                raise IdentityError(_refusal(socket, error)) from error
        time.sleep(min(1.0, max(deadline - time.monotonic(), 0.0)))


class SpiffeSource(Latest):
    """An `IdentitySource` that follows the agent at a socket while `watch` runs.

    Raises `IdentityError` as `fetch` does.
    """

    def __init__(self, socket: Path, anchors: Anchors = tuple, seconds: float = START_SECONDS, role: str = "") -> None:
        super().__init__(fetch(socket, anchors, seconds, role))
        self._socket = socket
        self._anchors = anchors
        self._wake = asyncio.Event()
        self._asked = False
        self._refusal = ""

    async def watch(self) -> None:
        """See `WatchedSource`."""
        pauses = Backoff(0.5, LONGEST_PAUSE)
        async for _ in pauses:
            try:
                await self._listen(pauses)
            except _errors() as error:
                self._complain(_refusal(self._socket, error))

    def look(self) -> None:
        """See `WatchedSource`."""
        self._asked = True
        self._wake.set()

    async def _listen(self, pauses: Backoff) -> None:
        """Takes over what the agent pushes. Raises what the library raises, once the agent goes away."""
        pushes = _Pushes(asyncio.get_running_loop(), self._wake)
        with _client(self._socket) as client:
            stream = client.stream_x509_contexts(pushes.put, pushes.put, retry_connect=False)
            try:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    if (newest := pushes.take()) is not None:
                        pauses.reset()
                        self._take(newest)
                    elif self._asked:  # the agent pushes once more to whoever asks anew
                        stream.cancel()
                        stream = client.stream_x509_contexts(pushes.put, pushes.put, retry_connect=False)
            finally:
                stream.cancel()

    def _take(self, context: "X509Context") -> None:
        try:
            identity = _identity(context, self._socket, self._anchors(), self.current)
            changed = identity != self.current
            if changed:
                self.replace(identity)
        except (IdentityError, CertificateError) as error:
            self._complain(str(error))
            return
        if changed or self._asked or self._refusal:
            logger.info("%s: the agent gives %s, valid until %s", self._socket, identity.subject, _end(identity))
        self._refusal, self._asked = "", False

    def _complain(self, text: str) -> None:
        """Once, since it may take long, and whenever the operator asks."""
        if self._asked or text != self._refusal:
            logger.warning(
                "%s. This node goes on with the certificate that it has, which is valid until %s",
                text,
                _end(self.current),
            )
        self._refusal, self._asked = text, False


class _Pushes:
    """The newest push of an agent, handed from the library's thread to the event loop; older ones are of no use."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
        self._loop = loop
        self._wake = wake
        self._newest: X509Context | Exception | None = None

    def put(self, what: "X509Context | Exception") -> None:
        """From the thread; an exception is the end of the stream."""
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._store, what)

    def take(self) -> "X509Context | None":
        """The newest one that has not been taken. Raises the exception with which the stream has ended."""
        newest, self._newest = self._newest, None
        if isinstance(newest, Exception):
            raise newest
        return newest

    def _store(self, what: "X509Context | Exception") -> None:
        self._newest = what
        self._wake.set()


def socket_path(text: str) -> Path:
    """The absolute path of a socket, which may be written as a URI (unix:///path)."""
    return Path(text.removeprefix("unix:").replace("///", "/", 1)).absolute()


def _identity(
    context: "X509Context", socket: Path, others: Sequence[x509.Certificate], known: Identity | None, role: str = ""
) -> Identity:
    """The checked identity in what an agent has given. Raises `IdentityError` or `CertificateError`."""
    chains = [tuple(map(_read, svid.cert_chain)) for svid in context.x509_svids]
    keys = [svid.private_key for svid in context.x509_svids]
    chosen = _chosen([chain[0] for chain in chains], known, role)
    bundles = tuple(
        sorted(
            Bundle(bundle.trust_domain.name, tuple(sorted(map(_read, bundle.x509_authorities), key=thumbprint)))
            for bundle in context.x509_bundle_set.bundles
        )
    )
    anchors = dict.fromkeys((*others, *(root for bundle in bundles for root in bundle.roots)))
    identity = Identity(chains[chosen], tuple(anchors), socket, socket, keys[chosen], bundles=bundles)
    identity.check()
    return identity


def _chosen(leaves: Sequence[x509.Certificate], known: Identity | None, role: str) -> int:
    """The index of the certificate to use: that of the same ID as before, else the first for this role, else the first
    for any."""
    if known is not None:
        return next((index for index, leaf in enumerate(leaves) if spiffe_id(leaf) == known.subject), 0)
    roles = [_role(leaf) for leaf in leaves]
    if role and role in roles:
        return roles.index(role)
    return next((index for index, found in enumerate(roles) if found), 0)


def _role(leaf: x509.Certificate) -> str:
    """Empty where the ID names none."""
    try:
        return role_of(leaf)
    except CertificateError:
        return ""


def _read(certificate: x509.Certificate) -> x509.Certificate:
    """The same, with every part decoded: nothing of it can fail later."""
    return load_der(certificate.public_bytes(Encoding.DER))


@contextmanager
def _client(socket: Path) -> Iterator["WorkloadApiClient"]:
    """Raises `IdentityError` where the library is not installed, `PySpiffeError` where there is no socket."""
    try:
        from spiffe import WorkloadApiClient
    except ImportError as error:
        raise IdentityError(NO_LIBRARY) from error
    with _quiet_grpc():
        client = WorkloadApiClient(f"unix:{socket}")
    with client:
        yield client


@contextmanager
def _quiet_grpc() -> Iterator[None]:
    """What gRPC reads when it begins. It would write into the node's log what this module logs better, and complain of
    each fork, though what a node forks becomes another program at once."""
    former = {name: os.environ.get(name) for name in _QUIET}
    os.environ |= _QUIET
    try:
        yield
    finally:
        for name, value in former.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _errors() -> tuple[type[Exception], ...]:
    """What an agent that is away, or has no identity for this process, raises in the library."""
    try:
        from spiffe.errors import PySpiffeError
    except ImportError as error:
        raise IdentityError(NO_LIBRARY) from error
    return (PySpiffeError,)


def _end(identity: Identity) -> str:
    return f"{identity.certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"


def _refusal(socket: Path, error: Exception) -> str:
    return (
        f"{socket}: the SPIFFE agent gives no identity: {str(error).rstrip('.')}. See whether it runs, whether this "
        "user may open its socket, and whether it has an entry for this node"
    )
