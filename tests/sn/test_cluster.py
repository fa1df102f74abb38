"""An SN's answers about the etcd cluster, and its work for others in it, when its own member ends meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from support.network import Ledger
from support.tools import needs
from swarmlearning.api.answers import ClusterMember
from swarmlearning.api.client import SnClient
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import NodeTls
from swarmlearning.ledger.chain import Chain
from swarmlearning.ordering.etcd.gateway import Gateway
from swarmlearning.ordering.etcd.member import peer_url
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import UnavailableError
from swarmlearning.sn.cluster import Cluster

pytestmark = needs("etcd")


async def no_archive(start: int, limit: int) -> list[bytes]:
    return []


@pytest.fixture
async def cluster(tmp_path: Path, identities: dict[str, Identity]) -> AsyncIterator[Cluster]:
    """Founded by this SN alone."""
    file = LocalLog(tmp_path / "chain.sqlite")
    made = Cluster("a", NodeTls(identities["SN-1"]), Path("etcd"), tmp_path / "etcd", file, Chain, list, no_archive)
    await made.start("127.0.0.1", 0)
    await made.found()
    yield made
    await made.stop()
    file.close()


def end_after_one_answer(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The member ends, and its gateway is closed, as soon as it has answered the task that calls this once."""
    ask: Callable[..., Awaitable[dict[str, Any]]] = Gateway._call
    asker = asyncio.current_task()

    async def ask_once(gateway: Gateway, *what: Any) -> dict[str, Any]:
        answer = await ask(gateway, *what)
        if asyncio.current_task() is asker:
            await cluster.stop()
        return answer

    monkeypatch.setattr(Gateway, "_call", ask_once)


async def test_the_members_are_unknown_when_etcd_ends_meanwhile(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_after_one_answer(cluster, monkeypatch)
    assert await cluster.members() == []
    assert not cluster.votes


async def test_the_leases_are_unknown_when_etcd_ends_meanwhile(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_after_one_answer(cluster, monkeypatch)
    assert await cluster.leases() is None
    assert not cluster.votes


async def test_there_are_no_alarms_when_etcd_ends_meanwhile(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    end_after_one_answer(cluster, monkeypatch)
    assert await cluster.alarms() == []
    assert not cluster.votes


async def test_ending_a_vote_is_unavailable_when_etcd_ends_meanwhile(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_after_one_answer(cluster, monkeypatch)
    with pytest.raises(UnavailableError, match="no longer used"):
        await cluster.remove("a")
    assert not cluster.votes


class Reporting:
    """An SN that reports these members of the cluster."""

    address = "other:1"

    def __init__(self, *members: ClusterMember) -> None:
        self._members = list(members)

    async def cluster(self) -> list[ClusterMember]:
        return self._members


GENUINE = (ClusterMember(1, "sn-1", peer_url("sn-1"), False), ClusterMember(2, "", peer_url("sn-2"), True))


@pytest.mark.parametrize(
    "member",
    [
        ClusterMember(3, "sn-3", peer_url("sn-3"), False),
        ClusterMember(3, "sn-2", peer_url("sn-1"), False),
        ClusterMember(3, "sn-1\0", peer_url("sn-1"), False),
        ClusterMember(3, "sl-1", peer_url("sl-1"), False),
        ClusterMember(3, "sn-1,sn-1=http://10.0.0.1", peer_url("sn-1"), False),
        ClusterMember(3, "sn-1", "http://10.0.0.1:2379", False),
        ClusterMember(3, "x" * 1_000_000, "y" * 1_000_000, True),
    ],
    ids=["unknown", "other-name", "nul", "no-sn", "injected", "other-address", "long"],
)
async def test_an_sn_that_reports_members_which_are_no_sns_on_the_chain_is_not_believed(
    member: ClusterMember, tmp_path: Path, identities: dict[str, Identity]
) -> None:
    ledger = Ledger()
    ledger.join("sn-2", "SN")
    ledger.join("sl-1")
    others = [cast(SnClient, Reporting(*GENUINE, member)), cast(SnClient, Reporting(*GENUINE))]
    file = LocalLog(tmp_path / "chain.sqlite")
    made = Cluster(
        "sn-2",
        NodeTls(identities["SN-1"]),
        Path("etcd"),
        tmp_path,
        file,
        lambda: ledger.chain,
        lambda: others,
        no_archive,
    )
    client, members = await made._reported_members()
    assert client is others[1]
    assert [found.peer_url for found in members] == [found.peer_url for found in GENUINE]
    file.close()
