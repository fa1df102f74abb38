"""One etcd member: started, watched and stopped by its SN.

It serves plain HTTP on two unix sockets in a folder that only this user can enter: one for its SN (`client:0`), one
for its peers (`peer:0`), which reach it through the SN's tunnel. It dials its peers through the tunnel's proxy. So all
that crosses the network is the tunnel's mutual TLS with the SN's own identity (see `tunnel.py`).
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from swarmlearning.backoff import Backoff
from swarmlearning.ordering.etcd.gateway import EtcdUnavailableError, Gateway
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.orphans import dying_with_this_process

logger = logging.getLogger("swarm.etcd")

CLIENT_SOCKET = "client:0"
PEER_SOCKET = "peer:0"
LOG = "log"
HALF_LOG = 4 * 2**20
"""Bytes of etcd's own log, after which it begins anew; two such parts are kept."""
HEARTBEAT_MS = 100
ELECTION_MS = 1000
QUOTA_BYTES = 2 * 1024**3
SNAPSHOT_ENTRIES = 5000
"""Entries that etcd has in memory and in its write-ahead log, before it writes a snapshot and keeps the last 5000. With
its default of 100,000 it went on growing in the whole hour of a soak, by 100 MB."""
STOP_SECONDS = 2.0
"""Time for a leader to hand over to another member. etcd gives that up after `ELECTION_MS`, and then only waits: longer
than this where no other member runs. To be killed costs it nothing, as what it has confirmed is on the disk."""
START_SECONDS = 30.0


def peer_url(uid: str) -> str:
    """The address of an SN's member inside the cluster: a name only the tunnel's proxy understands.

    An IPv6 unique local address made from the UID, because etcd resolves host names itself.
    """
    return f"http://{cluster_host(uid)}"


def cluster_host(uid: str) -> str:
    """Host and port in `peer_url`, as requests name it."""
    return f"[{peer_address(uid)}]:2380"


def peer_address(uid: str) -> str:
    """The address in `peer_url`, in its normal form."""
    digest = hashlib.sha256(uid.encode()).digest()
    return str(ipaddress.IPv6Address(b"\xfd" + digest[:15]))


def nobody() -> str:
    """The proxy of a member that is alone: nothing listens there, so that it reaches no other member."""
    return "http://127.0.0.1:9"


class EtcdMember:
    """The etcd process of the SN `uid`, with everything it keeps in `directory`."""

    def __init__(self, binary: Path, directory: Path, uid: str, proxy: Callable[[], str]) -> None:
        """`proxy` returns the URL of the tunnel's proxy, with its password, when the member is started."""
        self._binary = binary
        self._directory = directory
        self._uid = uid
        self._proxy = proxy
        self._process: asyncio.subprocess.Process | None = None
        self._folder = -1

    @property
    def has_data(self) -> bool:
        """True if this member has been part of a cluster already."""
        return (self._directory / "data" / "member").is_dir()

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def peer_socket(self) -> Path:
        """The socket at which this member listens for its peers."""
        return self._short(PEER_SOCKET)

    @property
    def client_socket(self) -> Path:
        """The socket at which this member listens for its SN."""
        return self._short(CLIENT_SOCKET)

    async def start(self, cluster: Mapping[str, str] | None, *, new: bool, alone: bool = False) -> None:
        """Starts the process. `cluster` (UID to peer URL) is needed the first time; `alone`: the data on disk is to be
        that of a cluster of this member only, for ever.

        Raises `OrderingError` when it cannot be started (its program is just being replaced, say).
        """
        try:
            await self._start(cluster or {self._uid: peer_url(self._uid)}, new, alone)
        except OSError as error:
            raise OrderingError(f"cannot start {self._binary} in {self._directory}: {error}") from error

    async def _start(self, members: Mapping[str, str], new: bool, alone: bool) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory.chmod(0o700)
        if self._folder < 0:
            self._folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        for name in (CLIENT_SOCKET, PEER_SOCKET):
            (self._directory / name).unlink(missing_ok=True)
        proxy = self._proxy()
        with (self._directory / LOG).open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(self._binary),
                *self._options(members, new),
                *(["--force-new-cluster"] if alone else []),
                cwd=self._directory,
                env=_environment(os.environ, proxy),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dying_with_this_process(),  # a member must not go on voting without its SN
            )

    async def answers(self, *, led: bool = False) -> None:
        """Waits until the member answers its SN, `led`: and knows a leader, without which nothing can be written.

        Raises `OrderingError` when it ends before, or takes too long.
        """
        gateway = Gateway(self.client_socket)
        try:
            async with asyncio.timeout(START_SECONDS):
                async for _ in Backoff(0.04, 0.5):
                    if self._process is None or self._process.returncode is not None:
                        raise OrderingError(f"etcd has ended: {self.last_words()}")
                    try:
                        if await gateway.led() or not led:
                            return
                    except EtcdUnavailableError:
                        pass
        except TimeoutError:
            raise OrderingError(f"etcd does not answer after {START_SECONDS:.0f} s: {self.last_words()}") from None
        finally:
            await gateway.close()

    async def stop(self) -> None:
        """Stops the process: it hands over if it leads, within two seconds."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                # In a task that is being cancelled asyncio.timeout raises no TimeoutError before Python 3.11.3.
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):  # it has ended just now
                    process.kill()
                await process.wait()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _options(self, members: Mapping[str, str], new: bool) -> list[str]:
        return [
            *("--name", self._uid, "--data-dir", "data"),
            *("--listen-client-urls", f"unix://{CLIENT_SOCKET}", "--advertise-client-urls", f"unix://{CLIENT_SOCKET}"),
            *("--listen-peer-urls", f"unix://{PEER_SOCKET}", "--initial-advertise-peer-urls", peer_url(self._uid)),
            *("--initial-cluster", ",".join(f"{uid}={url}" for uid, url in sorted(members.items()))),
            *("--initial-cluster-state", "new" if new else "existing"),
            *("--initial-cluster-token", secrets.token_hex(8)),  # a cluster founded anew is never taken for the old one
            *("--heartbeat-interval", str(HEARTBEAT_MS), "--election-timeout", str(ELECTION_MS)),
            *("--pre-vote", "--strict-reconfig-check=false"),
            *("--quota-backend-bytes", str(QUOTA_BYTES), "--auto-compaction-mode", "periodic"),
            *("--auto-compaction-retention", "5m", "--snapshot-count", str(SNAPSHOT_ENTRIES), "--logger", "zap"),
        ]

    def _short(self, name: str) -> Path:
        """Unix socket paths are short; the open folder gives every one a short name."""
        return Path(f"/proc/self/fd/{self._folder}/{name}") if sys.platform == "linux" else self._directory / name

    def bound_log(self) -> None:
        """Begins its log anew where it has become long; the part before is kept if there is room for it.

        etcd goes on writing to the same file, at its end: so that is emptied, not replaced. To be called now and then.
        """
        log = self._directory / LOG
        with contextlib.suppress(OSError):  # it is not there, or its disk fails: then there is more to worry about
            if log.stat().st_size > HALF_LOG:
                with contextlib.suppress(OSError):
                    shutil.copyfile(log, log.with_name(f"{LOG}.1"))
                os.truncate(log, 0)

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = (self._directory / LOG).read_text(errors="replace").splitlines()
        except OSError as error:
            return f"no log ({error.strerror})"
        return " | ".join(lines[-3:])[-800:]


def _environment(environ: Mapping[str, str], proxy: str) -> dict[str, str]:
    """etcd reaches its peers through our proxy alone: a site's own would be asked for its unix sockets, too."""
    kept = {name: value for name, value in environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "HTTP_PROXY": proxy, "http_proxy": proxy}
