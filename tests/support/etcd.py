"""Real etcd members joined by the real tunnel, all in this process' event loop."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest

from support.certs import make_workspace
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.ordering.etcd.gateway import Gateway
from swarmlearning.ordering.etcd.member import EtcdMember, cluster_host, peer_address, peer_url
from swarmlearning.ordering.etcd.tunnel import Gate, Peer, Proxy
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import UnavailableError
from swarmlearning.transport.parties import Credential

ETCD = shutil.which("etcd")


class Host:
    """One SN's share of a cluster: its gate, its proxy and its member."""

    def __init__(self, cluster: "Cluster", uid: str, identity: Identity) -> None:
        self.uid = uid
        self.identity = identity
        self.port = 0
        self.proxy = Proxy(client_context(identity), cluster)
        self.gate = Gate(server_context(identity), cluster_host(uid), lambda: self.member.peer_socket, cluster)
        self.directory = cluster.root / uid
        self.member: EtcdMember
        self.gateway: Gateway

    async def prepare(self) -> None:
        self.port = await self.gate.start("127.0.0.1", self.port)
        assert ETCD is not None
        await self.proxy.start()
        self.member = EtcdMember(Path(ETCD), self.directory, self.uid, lambda: self.proxy.url)

    async def start(self, cluster: dict[str, str] | None, *, new: bool) -> None:
        await self.member.start(cluster, new=new)
        self.gateway = Gateway(self.member.client_socket)


class Cluster:
    """Members `a`, `b`, …, each beside a host with a certificate of its own."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self._files: list[LocalLog] = []
        names = [f"SN-{number}" for number in range(1, count + 1)]
        identities = make_workspace(root / "cert", names)
        self.admitted = {identity.thumbprint for identity in identities.values()}
        self.hosts = [Host(self, chr(ord("a") + index), identities[name]) for index, name in enumerate(names)]

    def find(self, address: str) -> Peer | None:
        for host in self.hosts:
            if peer_address(host.uid) == address:
                return Peer("127.0.0.1", host.port, host.uid)
        return None

    def admits(self, credential: Credential, uid: str | None = None) -> bool:
        named = {host.identity.thumbprint for host in self.hosts if uid in (None, host.uid)}
        return credential.thumbprint in self.admitted & named

    async def start(self) -> None:
        """The first founds the cluster, the others join it one at a time and become voters."""
        first = self.hosts[0]
        for host in self.hosts:
            await host.prepare()
        await first.start(None, new=True)
        await first.member.answers(led=True)
        members = {first.uid: peer_url(first.uid)}
        for host in self.hosts[1:]:
            members[host.uid] = peer_url(host.uid)
            number = await first.gateway.add_learner(peer_url(host.uid))
            await host.start(members, new=False)
            await host.member.answers()
            await self._promote(first, number)
            await host.member.answers(led=True)  # the cluster needs its vote from now on

    async def _promote(self, by: Host, number: int) -> None:
        """As soon as the learner has caught up: etcd refuses before. An answer that stays away may be a yes."""
        async with asyncio.timeout(120):
            while True:
                with contextlib.suppress(UnavailableError):
                    await by.gateway.promote(number)
                with contextlib.suppress(UnavailableError):
                    if any(member.id == number and not member.learner for member in await by.gateway.members()):
                        return
                await asyncio.sleep(0.05)

    def file(self, path: Path) -> LocalLog:
        """A chain file, closed with the cluster."""
        self._files.append(LocalLog(path))
        return self._files[-1]

    async def stop(self) -> None:
        for file in self._files:
            file.close()
        with pytest.MonkeyPatch.context() as patch:  # the last one, if it leads, has nobody to hand over to
            patch.setattr("swarmlearning.ordering.etcd.member.STOP_SECONDS", 0.5)
            for host in self.hosts:
                await host.gateway.close()
                await host.member.stop()
        for host in self.hosts:
            await host.proxy.stop()  # nobody dials any more: no handshake is left when the gates go
        for host in self.hosts:
            await host.gate.stop()
