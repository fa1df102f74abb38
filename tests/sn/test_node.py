"""The start of an SN, its continuation, and the errors that keep it from starting."""

import asyncio
import resource
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.local_sn import member, running_sn
from support.network import Ledger
from support.ports import fixed_port
from support.tools import needs
from swarmlearning.address import split
from swarmlearning.api.client import Unavailable
from swarmlearning.errors import UserError, first_cause
from swarmlearning.identity.certificates import CertificateError
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.contracts import network
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.ordering.local import LocalLog, read_chain_file
from swarmlearning.ordering.protocols import Head, OrderingError, UnavailableError
from swarmlearning.sn import node as node_module
from swarmlearning.sn.descriptors import MOST_DESCRIPTORS, raise_descriptor_limit
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.transport.listener import ListenError

Identities = dict[str, Identity]

ELSEWHERE = "192.0.2.1"
"""Reserved for documentation: no machine has it."""


async def failure(data_dir: Path, identity: Identity, **options: object) -> Exception:
    """The error with which an SN does not start."""
    with pytest.raises(Exception, match=r".") as refused:
        async with running_sn(data_dir, identity, **options):  # type: ignore[arg-type]
            pass
    cause = first_cause(refused.value)
    assert isinstance(cause, UserError)
    return cause


async def test_a_first_sn_founds_a_network_and_registers_its_addresses(tmp_path: Path, identities: Identities) -> None:
    async with (
        running_sn(tmp_path, identities["SN-1"], name="hospitals") as sn,
        member(sn["api"], identities["SL-1"]) as sl,
    ):
        chain = await sl.catch_up()
        assert chain.network_id == sn["network"]
        assert network.network(chain.world).name == "hospitals"
        founder = network.node(chain.world, sn["uid"])
        assert founder is not None
        assert (founder.incarnation, founder.addresses) == (1, {"api": sn["api"]})


@pytest.mark.parametrize(("bind", "listens"), [("", "0.0.0.0"), ("127.0.0.1", "127.0.0.1")])
async def test_an_sn_behind_nat_announces_one_address_and_listens_on_another(
    bind: str, listens: str, tmp_path: Path, identities: Identities
) -> None:
    async with running_sn(tmp_path, identities["SN-1"], host=ELSEWHERE, bind=bind) as sn:
        port = sn["api"].removeprefix(f"{ELSEWHERE}:")
        assert sn["listens"] == f"{listens}:{port}"
        async with member(f"127.0.0.1:{port}", identities["SL-1"]) as sl:
            founder = network.node((await sl.catch_up()).world, sn["uid"])
    assert founder is not None
    assert founder.addresses == {"api": sn["api"]}


@needs("etcd")
async def test_the_p2p_port_listens_on_the_chosen_address_and_is_announced_at_the_other(
    tmp_path: Path, identities: Identities
) -> None:
    tls = client_context(identities["SN-1"])
    async with running_sn(tmp_path, identities["SN-1"], ordering="etcd", host=ELSEWHERE, bind="127.0.0.2") as sn:
        host, port = split(sn["p2p"])
        assert host == ELSEWHERE
        _, writer = await asyncio.open_connection("127.0.0.2", port, ssl=tls)
        writer.transport.abort()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port, ssl=tls)


@needs("etcd")
async def test_an_sn_that_was_killed_while_founding_founds_its_network_once(
    tmp_path: Path, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Etcd had the genesis, the chain file had not."""

    async def killed(log: LocalLog, expected: Head, entry: bytes) -> Head:
        raise OrderingError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(LocalLog, "append", killed)
        assert str(await failure(tmp_path, identities["SN-1"], ordering="etcd")) == "killed"
    async with running_sn(tmp_path, identities["SN-1"], ordering="etcd") as sn:
        assert sha256(read_chain_file(tmp_path / CHAIN_FILE)[0]).hexdigest() == sn["network"]


async def test_a_transaction_that_waits_when_the_sn_stops_is_answered(
    tmp_path: Path, identities: Identities, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(node_module, "STOP_SECONDS", 30.0)
    tried = asyncio.Event()

    async def no_majority(log: LocalLog, expected: Head, entry: bytes) -> Head:
        tried.set()
        raise UnavailableError("no majority")

    async with AsyncExitStack() as nodes:
        async with running_sn(tmp_path, identities["SN-1"]) as sn:
            sl = await nodes.enter_async_context(member(sn["api"], identities["SL-1"]))
            monkeypatch.setattr(LocalLog, "append", no_majority)
            offer = asyncio.create_task(sl.register())
            await tried.wait()
        with pytest.raises(Unavailable, match="this SN stops"):
            await offer
    assert "Traceback" not in caplog.text


async def test_an_sn_continues_its_chain_after_a_restart(tmp_path: Path, identities: Identities) -> None:
    async with running_sn(tmp_path, identities["SN-1"]) as sn, member(sn["api"], identities["SL-1"]) as sl:
        await sl.register()
        before = await sl.catch_up()
    async with running_sn(tmp_path, identities["SN-1"], sentinel=False) as again:
        assert (again["uid"], again["network"]) == (sn["uid"], sn["network"])
        async with member(again["api"], identities["SL-1"]) as sl:
            chain = await sl.catch_up()
    assert chain.hashes[before.height] == before.hash
    founder = network.node(chain.world, sn["uid"])
    assert founder is not None
    assert (founder.incarnation, founder.addresses) == (2, {"api": again["api"]})
    assert network.node(chain.world, "sl-1") is not None


async def test_an_sn_without_a_chain_founds_a_network_only_when_configured_to(
    tmp_path: Path, identities: Identities
) -> None:
    error = await failure(tmp_path, identities["SN-1"], sentinel=False)
    assert "either --sentinel or --sentinel-ip must be specified" in str(error)


async def test_an_sn_that_has_lost_its_chain_file_does_not_found_a_second_network(
    tmp_path: Path, identities: Identities
) -> None:
    async with running_sn(tmp_path, identities["SN-1"], name="hospitals"):
        pass
    for file in tmp_path.glob(f"{CHAIN_FILE}*"):
        file.unlink()
    error = await failure(tmp_path, identities["SN-1"])
    assert "is gone" in str(error)
    assert "Restore its chain file; to found a new network use an empty --data-dir" in str(error)


async def test_a_chain_file_of_another_network_is_refused(tmp_path: Path, identities: Identities) -> None:
    for name in ("hospitals", "banks"):
        async with running_sn(tmp_path / name, identities["SN-1"], name=name):
            pass
    (tmp_path / "banks" / CHAIN_FILE).replace(tmp_path / "hospitals" / CHAIN_FILE)
    error = await failure(tmp_path / "hospitals", identities["SN-1"])
    assert "belongs to network 'hospitals'" in str(error)
    assert "found network 'banks'" in str(error)


def flip(raw: bytes) -> bytes:
    """The signature of the header begins after its second dot; one character of it is another."""
    at = raw.index(b".", raw.index(b".") + 1) + 1
    return raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda raw, digest: (flip(raw), digest),
            "block 1 has been altered since it was stored. Stop this SN; `swarm",
        ),
        (lambda raw, digest: (flip(raw), sha256(flip(raw)).hexdigest()), "what stands at height 1 is no block"),
    ],
    ids=["the block", "the block and its hash"],
)
async def test_a_damaged_chain_file_is_named(
    tmp_path: Path, identities: Identities, change: Callable[[bytes, str], tuple[bytes, str]], complaint: str
) -> None:
    async with running_sn(tmp_path, identities["SN-1"]) as sn, member(sn["api"], identities["SL-1"]) as sl:
        await sl.register()
    connection = sqlite3.connect(tmp_path / CHAIN_FILE)
    raw, digest = connection.execute("SELECT raw, hash FROM blocks WHERE height = 1").fetchone()
    connection.execute("UPDATE blocks SET raw = ?, hash = ? WHERE height = 1", change(raw, digest))
    connection.commit()
    connection.close()
    error = await failure(tmp_path, identities["SN-1"])
    assert str(tmp_path / CHAIN_FILE) in str(error)
    assert complaint in str(error)


async def test_a_chain_file_that_holds_no_chain_is_named(tmp_path: Path, identities: Identities) -> None:
    ledger = Ledger()
    ledger.join("sl-1")
    async with running_sn(tmp_path, identities["SN-1"]):
        pass
    connection = sqlite3.connect(tmp_path / CHAIN_FILE)
    connection.execute("UPDATE blocks SET height = height + 100")
    stranger = ledger.blocks[1]
    connection.execute("INSERT INTO blocks VALUES (0, ?, ?)", (sha256(stranger).hexdigest(), stranger))
    connection.execute("DELETE FROM blocks WHERE height > 0")
    connection.commit()
    connection.close()
    error = await failure(tmp_path, identities["SN-1"])
    assert str(tmp_path / CHAIN_FILE) in str(error)


async def test_a_port_in_use_is_named_and_the_chain_is_unharmed(tmp_path: Path, identities: Identities) -> None:
    port = fixed_port()
    async with running_sn(tmp_path / "one", identities["SN-1"], port=port):
        error = await failure(tmp_path / "other", identities["SN-1"], port=port)
        assert isinstance(error, ListenError)
        assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in str(error)
    async with running_sn(tmp_path / "other", identities["SN-1"], port=port):
        pass
    assert len(read_chain_file(tmp_path / "other" / CHAIN_FILE)) >= 2


async def test_an_sn_refuses_to_start_with_a_certificate_of_another_role(
    tmp_path: Path, identities: Identities
) -> None:
    error = await failure(tmp_path, identities["SL-1"])
    assert isinstance(error, CertificateError)
    assert "is for the role SL; needed here: SN" in str(error)
    assert not list(tmp_path.iterdir())


async def test_an_sn_refuses_to_start_with_another_certificate_than_at_the_founding(
    tmp_path: Path, workspace: Path, identities: Identities
) -> None:
    """The UID belongs to the subject that registered it."""
    async with running_sn(tmp_path / "sn", identities["SN-1"]):
        pass
    other = make_workspace(workspace, ["SN-9"])["SN-9"]
    error = await failure(tmp_path / "sn", other)
    assert "belongs to" in str(error)
    assert "CN=SN-9" in str(error)


async def test_a_second_sn_in_the_same_data_directory_is_refused(tmp_path: Path, identities: Identities) -> None:
    async with running_sn(tmp_path, identities["SN-1"]):
        error = await failure(tmp_path, identities["SN-1"])
        assert "another process of this node is running" in str(error)
    with DataDirectory(tmp_path) as place:
        assert place.incarnation == 2


def test_an_sn_may_open_as_many_files_as_the_system_grants() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(MOST_DESCRIPTORS, before[1]), before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
