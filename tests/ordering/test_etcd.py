"""The etcd engine against real etcd members, joined by the real tunnel."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.certs import make_workspace
from support.etcd import Cluster
from support.tools import needs
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ordering.etcd.gateway import EtcdUnavailableError, Gateway, put
from swarmlearning.ordering.etcd.log import HEAD_KEY, EtcdLog, _encode, _key
from swarmlearning.ordering.etcd.member import cluster_host, peer_url
from swarmlearning.ordering.etcd.presence import PREFIX, EtcdPresence
from swarmlearning.ordering.protocols import EMPTY, ConflictError, Head, Lease
from swarmlearning.views.training import TrainingProgress

pytestmark = needs("etcd")

KEPT_ENTRIES = 5000
"""By etcd, after a snapshot."""


async def no_archive(start: int, limit: int) -> list[bytes]:
    raise AssertionError(f"block {start} should be in etcd")


def make_logs(cluster: Cluster, root: Path) -> list[EtcdLog]:
    return [EtcdLog(host.gateway, cluster.file(root / f"{host.uid}.sqlite"), no_archive) for host in cluster.hosts]


@pytest.fixture(autouse=True)
def _patient_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change takes as long as the machine's disk needs: no test here is about the bound of an SN."""
    monkeypatch.setattr("swarmlearning.ordering.etcd.gateway.CHANGE_SECONDS", 60.0)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(tmp_path, 3)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_three_sns_have_one_order_of_blocks(cluster: Cluster, tmp_path: Path) -> None:
    logs = make_logs(cluster, tmp_path)
    first = await logs[0].append(EMPTY, b"genesis")
    with pytest.raises(ConflictError):
        await logs[1].append(EMPTY, b"another genesis")
    assert await logs[1].read(0, 10) == [b"genesis"]
    second = await logs[1].append(first, b"second")
    assert await logs[2].read(0, 10) == [b"genesis", b"second"]
    assert await logs[2].head() == second
    assert await logs[0].read(1, 10) == [b"second"]


async def test_races_for_a_height_have_one_winner(cluster: Cluster, tmp_path: Path) -> None:
    logs = make_logs(cluster, tmp_path)
    head = EMPTY
    for height in range(10):
        outcomes = await asyncio.gather(
            *(log.append(head, b"%d by %d" % (height, index)) for index, log in enumerate(logs)), return_exceptions=True
        )
        heads = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        assert len(heads) == 1
        assert all(isinstance(outcome, ConflictError) for outcome in outcomes if isinstance(outcome, BaseException))
        head = heads[0]
        for log in logs:
            await log.read(height, 10)
    assert len({tuple(await log.read(0, 20)) for log in logs}) == 1


@pytest.mark.parametrize("watching", [True, False])
async def test_what_is_passed_over_is_replaced_by_the_next_entry_for_all(
    cluster: Cluster, tmp_path: Path, watching: bool
) -> None:
    """An SN with its hands in etcd writes two entries, and the head after them, that are no blocks."""
    logs = make_logs(cluster, tmp_path)
    tasks = [asyncio.create_task(log.run()) for log in logs if watching]
    head = await logs[0].append(EMPTY, b"genesis")
    for log in logs[1:]:
        await log.wait_for_append(-1) if watching else None
        assert await log.read(0, 10) == [b"genesis"]
    junk = Head(2, sha256(b"more junk").hexdigest())
    entries = [put(_key(1), b"junk"), put(_key(2), b"more junk"), put(HEAD_KEY, _encode(junk))]
    assert await cluster.hosts[2].gateway.transact([], entries)
    for log in logs:
        async with asyncio.timeout(120):
            await log.wait_for_append(0) if watching else None
            assert (await log.read(1, 10))[0] == b"junk"
        await log.pass_over(1)
        assert await log.read(1, 10) == []
    async with asyncio.timeout(60):
        head = await logs[1].append(head, b"first")
        for log in (logs[0], logs[2]):
            await log.wait_for_append(0) if watching else None
            while not (found := await log.read(1, 1)):
                await log.wait_for_append(0) if watching else None
            assert found == [b"first"]
        if (await logs[0].read(2, 1)) == [b"more junk"]:
            await logs[0].pass_over(2)
        head = await logs[0].append(head, b"second")
    assert await logs[0].read(0, 10) == [b"genesis", b"first", b"second"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_member_that_was_away_for_longer_than_entries_are_kept_gets_a_snapshot_through_the_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in one long request, unlike everything else between members."""
    monkeypatch.setattr("swarmlearning.ordering.etcd.member.SNAPSHOT_ENTRIES", 100)
    cluster = Cluster(tmp_path, 3)
    await cluster.start()
    try:
        here, _, away = cluster.hosts
        await away.gateway.close()
        await away.member.stop()
        for written in range(0, KEPT_ENTRIES + 500, 50):
            keys = (_key(written + at) for at in range(50))
            await asyncio.gather(*(here.gateway.transact([], [put(key, bytes(500))]) for key in keys))
        await away.start(None, new=False)
        await away.member.answers(led=True)
        async with asyncio.timeout(120):
            while True:
                with contextlib.suppress(EtcdUnavailableError):  # while it applies the snapshot
                    if await away.gateway.get(_key(0)) is not None:
                        break
                await asyncio.sleep(0.05)
        assert "received and saved database snapshot" in (away.directory / "log").read_text()
    finally:
        await cluster.stop()


async def test_an_sn_on_a_chain_of_its_own_replaces_no_block_of_the_others(cluster: Cluster, tmp_path: Path) -> None:
    one, two, _ = make_logs(cluster, tmp_path)
    head = await one.append(EMPTY, b"genesis")
    assert await two.read(0, 10) == [b"genesis"]
    mine = await two.append(head, b"first")
    written = Head(1, sha256(b"another first").hexdigest())
    assert await cluster.hosts[2].gateway.transact(
        [], [put(_key(1), b"another first"), put(HEAD_KEY, _encode(written))]
    )
    assert (await one.read(1, 10)) == [b"another first"]
    await one.append(written, b"second")
    assert await two.read(2, 10) == [b"second"]
    await two.pass_over(2)  # it does not follow its head
    with pytest.raises(ConflictError, match="block 1 of the log is another one than this SN's"):
        await two.append(mine, b"own second")
    assert await one.read(0, 10) == [b"genesis", b"another first", b"second"]


@pytest.mark.parametrize("watching", [True, False])
async def test_what_is_held_is_not_read_or_replaced_until_it_is_released(
    cluster: Cluster, tmp_path: Path, watching: bool
) -> None:
    one, two, _ = make_logs(cluster, tmp_path)
    tasks = [asyncio.create_task(two.run())] if watching else []
    head = await one.append(EMPTY, b"genesis")
    await two.wait_for_append(-1) if watching else None
    assert await two.read(0, 10) == [b"genesis"]
    await one.append(head, b"ahead")
    await two.wait_for_append(0) if watching else None
    assert await two.read(1, 10) == [b"ahead"]
    await two.hold(1)
    assert await two.read(1, 10) == []
    with pytest.raises(ConflictError):
        await two.append(head, b"instead")
    assert await two.read(1, 10) == []
    await two.release(1)
    assert await two.read(1, 10) == [b"ahead"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_was_held_is_replaced_once_it_is_passed_over(cluster: Cluster, tmp_path: Path) -> None:
    one, two, three = make_logs(cluster, tmp_path)
    head = await one.append(EMPTY, b"genesis")
    for log in (two, three):
        assert await log.read(0, 10) == [b"genesis"]
    await one.append(head, b"ahead")
    for log in (two, three):
        assert await log.read(1, 10) == [b"ahead"]
        await log.hold(1)
    await two.pass_over(1)
    await two.append(head, b"instead")
    assert await three.read(1, 10) == [b"instead"]


async def test_blocks_that_etcd_has_deleted_come_from_other_sns(cluster: Cluster, tmp_path: Path) -> None:
    full = make_logs(cluster, tmp_path)[0]
    head = EMPTY
    for height in range(5):
        head = await full.append(head, b"block %d" % height)
    await full.prune(3)

    async def archive(start: int, limit: int) -> list[bytes]:
        return await full.read(start, limit)

    newcomer = EtcdLog(cluster.hosts[1].gateway, cluster.file(tmp_path / "newcomer.sqlite"), archive)
    assert await newcomer.read(0, 10) == [b"block 0", b"block 1", b"block 2"]
    assert await newcomer.read(3, 10) == [b"block 3", b"block 4"]
    assert await newcomer.read(5, 10) == []


async def test_the_order_goes_on_without_etcd_s_leader(cluster: Cluster, tmp_path: Path) -> None:
    logs = make_logs(cluster, tmp_path)
    head = await logs[0].append(EMPTY, b"genesis")
    await logs[1].read(0, 1)
    leader = int((await cluster.hosts[0].gateway.status())["leader"])
    ids = {member.name: member.id for member in await cluster.hosts[0].gateway.members()}
    index = next(number for number, host in enumerate(cluster.hosts) if ids[host.uid] == leader)
    await cluster.hosts[index].member.stop()
    other = logs[(index + 1) % 3]
    await other.read(0, 1)
    while head.height == 0:
        with contextlib.suppress(EtcdUnavailableError):  # until the election is over
            head = await other.append(head, b"second")
    assert head.height == 1


async def test_an_etcd_member_without_a_majority_knows_no_leader(cluster: Cluster) -> None:
    alone, *others = cluster.hosts
    assert await alone.gateway.led()
    for host in others:
        await host.member.stop()
    async with asyncio.timeout(120):
        while True:  # a leader steps down when an election time has passed
            if not await alone.gateway.led():
                return
            await asyncio.sleep(0.05)


async def test_a_lease_outlives_the_sn_that_granted_it(cluster: Cluster) -> None:
    one, other = (EtcdPresence(host.gateway) for host in cluster.hosts[:2])
    await one.announce(Lease("site", 1, 5, 7))
    await other.announce(Lease("site", 1, 6, 8))
    await other.announce(Lease("site", 0, 9, 9))
    observed = cluster.hosts[2]
    async for leases in EtcdPresence(observed.gateway).observe():
        assert leases["site"].incarnation == 1
        break
    how_far = TrainingProgress(2, 10, 61.5, None, 9.0)
    await other.announce(Lease("site", 2, 0, 0, how_far, 5, same_user=True))
    assert (await one.leases())["site"] == Lease("site", 2, 0, 0, how_far, 5, same_user=True)
    async for leases in EtcdPresence(observed.gateway).observe():
        assert leases["site"].incarnation == 2
        break
    seen = EtcdPresence(observed.gateway).observe()
    assert await anext(seen)
    assert await anext(seen) == {}  # not renewed: gone


async def test_a_node_that_two_sns_announce_in_one_moment_has_one_lease(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one SN renews a lease without a key, while the node's key dies with the other's."""
    gateways = [host.gateway for host in cluster.hosts[:2]]
    together, renewed = asyncio.Barrier(2), []

    def meet(gateway: Gateway) -> None:
        grant, renew = gateway.grant, gateway.renew

        async def grant_together(seconds: int) -> int:
            await together.wait()
            return await grant(seconds)

        async def note(lease: int) -> bool:
            renewed.append(lease)
            return await renew(lease)

        monkeypatch.setattr(gateway, "grant", grant_together)
        monkeypatch.setattr(gateway, "renew", note)

    for gateway in gateways:
        meet(gateway)
    sns = [EtcdPresence(gateway) for gateway in gateways]
    await asyncio.gather(*(sn.announce(Lease("site", 1, 0, 0)) for sn in sns))
    (found,) = await gateways[0].range(PREFIX, PREFIX + b"~", 10)
    for sn in sns:
        await sn.announce(Lease("site", 1, 0, 0))
    assert renewed == [found.lease, found.lease]


async def test_a_heartbeat_of_an_earlier_start_does_not_take_the_key_of_a_later_one(cluster: Cluster) -> None:
    one, other = (EtcdPresence(host.gateway) for host in cluster.hosts[:2])
    await one.announce(Lease("site", 1, 0, 0))
    await other.announce(Lease("site", 2, 0, 0))
    await one.announce(Lease("site", 1, 0, 0))
    assert (await one.leases())["site"].incarnation == 2


def request_to(host: str) -> bytes:
    return f"GET /members HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


async def ask(port: int, identity: Identity, request: bytes) -> bytes:
    """All that the gate answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(identity))
    try:
        writer.write(request)
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.transport.abort()


async def test_only_admitted_sns_get_through_the_tunnel(cluster: Cluster, tmp_path: Path) -> None:
    port, stranger = cluster.hosts[0].port, make_workspace(tmp_path / "cert", ["SL-1"])["SL-1"]
    request, other = request_to(cluster_host("a")), cluster.hosts[1].identity
    assert b"peerURLs" in await ask(port, other, request)
    assert await ask(port, stranger, request) == b""
    cluster.admitted.discard(other.thumbprint)
    assert await ask(port, other, request) == b""


@pytest.mark.parametrize("host", [cluster_host("b"), "x", ""])
async def test_requests_for_another_member_do_not_get_through_the_tunnel(cluster: Cluster, host: str) -> None:
    """As the others send them while a lost SN's member, which was at the same address, is still in their list."""
    assert await ask(cluster.hosts[0].port, cluster.hosts[1].identity, request_to(host)) == b""


async def test_unfinished_handshakes_do_not_close_the_tunnel(cluster: Cluster) -> None:
    port = cluster.hosts[0].port
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        assert b"peerURLs" in await ask(port, cluster.hosts[1].identity, request_to(cluster_host("a")))


async def test_etcd_s_proxy_requires_its_password(cluster: Cluster) -> None:
    url = urlsplit(cluster.hosts[0].proxy.url)
    reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
    writer.write(f"GET {peer_url('b')}/members HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert await reader.read() == b""
    writer.transport.abort()
