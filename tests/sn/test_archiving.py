"""A chain of more blocks than transactions are judged by: it is archived, and nodes go on without its beginning."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from support.local_sn import running_sn
from support.network import Ledger
from support.uids import uid
from swarmlearning.api.client import Refusal, SnClient
from swarmlearning.cli.chainfiles import Chains, signed_by
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import BrokenChainError
from swarmlearning.ledger.transaction import WINDOW
from swarmlearning.node.checkpoints import BASE_FILE, Checkpoints
from swarmlearning.node.datadir import DataDirectory, NodeRecord, read_record, write_record
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.ordering.local import ChainWriter, extent
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.sn.archiving import archive, give_up, start_from
from swarmlearning.sn.copies import back_up, restore

SN = uid("sn-1")
OLD = 20
"""Blocks more than are kept."""


class Archive:
    """An SN whose old blocks are archived: its ledger, its data directory, both files, and identities."""

    def __init__(self, folder: Path) -> None:
        workspace = Workspace(folder / "cert")
        authority = create_authority("CA-1", 3650)
        workspace.save_authority("CA-1", authority)
        self.ledger = Ledger(authority=authority, founder=SN)
        self.ledger.join(uid("sl-1"))
        while self.ledger.chain.height < WINDOW + OLD:
            self.announce(self.ledger.chain.height)
        for name, node in (("SN-1", SN), ("SL-1", uid("sl-1"))):
            workspace.save_node(name, self.ledger.actors[node].pair)
        self.sn: Identity = workspace.identity("SN-1")
        self.sl: Identity = workspace.identity("SL-1")
        self.place = folder / "sn"
        self.place.mkdir()
        self.write()
        write_record(self.place, NodeRecord(SN, 1, self.ledger.chain.network_id, "test"))
        self.done = asyncio.run(archive(self.place, folder / "archive", self.sn))
        assert give_up(self.place, self.done) == OLD
        self.network_id = self.ledger.chain.network_id

    def announce(self, number: int) -> None:
        self.ledger.send(uid("sl-1"), Announce({"fs": f"site:{number + 2}"}), network.CONTRACT)

    def write(self, first: int = 0) -> None:
        """Adds to the chain file what the ledger has."""
        with ChainWriter(self.place / "chain.sqlite", after=first - 1) as writer:
            for height, raw in enumerate(self.ledger.blocks[first:], first):
                writer.add(height, raw)


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("archive"))


def test_both_files_hold_what_was_there_and_the_sn_keeps_what_transactions_are_judged_by(archived: Archive) -> None:
    height = archived.ledger.chain.height
    assert archived.done.heights == range(height + 1)
    assert extent(archived.done.blocks) == range(height + 1)
    assert extent(archived.place / "chain.sqlite") == range(OLD, height + 1)
    assert archived.done.signed.chain.world.state_hash() == archived.ledger.chain.world.state_hash()
    assert archived.done.blocks.name == f"{archived.network_id[:16]}-0-{height}.blocks"


def test_the_ledger_is_verified_from_the_checkpoint_and_with_the_archive_from_block_0(archived: Archive) -> None:
    alone = Chains([archived.place])
    assert f"from block {WINDOW + OLD + 1} on, after the state that SN-1 have signed" in alone.source
    assert list(alone.steps()) == []
    whole = Chains([archived.place, archived.done.blocks])
    assert whole.source == ""
    assert [step.chain.height for step in whole.steps()][-1] == archived.ledger.chain.height


def test_the_names_of_those_who_have_signed_do_nothing_to_a_terminal(archived: Archive) -> None:
    chain = archived.done.signed.chain
    [sn] = network.admitted(chain.world)
    named = msgspec.structs.replace(sn, name="SN\x1b[2J\u202e")
    world = chain.world.with_entries({f"node/{sn.uid}": named})
    assert signed_by(archived.done.signed._replace(chain=replace(chain, world=world))) == "SN\\x1b[2J\\u202e"


def test_a_checkpoint_that_is_not_that_of_the_blocks_is_found(archived: Archive, tmp_path: Path) -> None:
    other = Ledger(authority=archived.ledger.authority, founder=SN)
    short = tmp_path / "short.blocks"
    with ChainWriter(short) as writer:
        for height, raw in enumerate(other.blocks):
            writer.add(height, raw)
    with pytest.raises((BrokenChainError, OrderingError)):
        list(Chains([short, archived.place]).steps())


def test_blocks_that_lie_nowhere_are_named(archived: Archive, tmp_path: Path) -> None:
    (tmp_path / "sn").mkdir()
    (tmp_path / "sn" / "chain.sqlite").write_bytes((archived.place / "chain.sqlite").read_bytes())
    with pytest.raises(OrderingError, match=f"blocks 0 to {OLD - 1} are missing: name the file"):
        list(Chains([tmp_path / "sn"]).steps())


@asynccontextmanager
async def at_work(archived: Archive) -> AsyncIterator[SnClient]:
    """The SN, without its old blocks, and a client of it."""
    async with (
        running_sn(archived.place, archived.sn) as facts,
        SnClient(facts["api"], client_context(archived.sl)) as client,
    ):
        yield client


async def test_an_sn_works_without_its_old_blocks_and_refuses_them_by_name(archived: Archive) -> None:
    async with at_work(archived) as client:
        status = await client.status()
        assert status["network_id"] == archived.network_id
        assert status["height"] > archived.ledger.chain.height  # its registration of this start
        assert await client.block(OLD) == archived.ledger.blocks[OLD]
        with pytest.raises(Refusal, match=f"blocks before {OLD} are archived") as refused:
            await client.block(OLD - 1)
        assert refused.value.code == "archived"
        async with aclosing(client.blocks(0)) as blocks:
            with pytest.raises(Refusal, match=f"blocks before {OLD} are archived"):
                await anext(blocks)


async def test_a_new_node_without_a_checkpoint_ends_with_what_to_do_and_with_one_it_follows(
    archived: Archive, tmp_path: Path
) -> None:
    async with at_work(archived) as client:
        tls = client_context(archived.sl)
        new = Follower([client.address], tls, lambda network_id, name: None)
        with pytest.raises(NodeError, match=r"no SN has block 0.*swarm ledger restore FILE --sl"):
            await new.run()
        await new.close()
        made = start_from(archived.done.checkpoint, tmp_path / "sl", sn=False, network_id=archived.network_id)
        assert {path.name for path in (tmp_path / "sl").iterdir()} == {BASE_FILE, "node.json"}
        with DataDirectory(tmp_path / "sl") as place:
            assert (place.uid, place.network) == (made.uid, archived.network_id)
            base = Checkpoints(tmp_path / "sl").read(place.network)
        assert base is not None
        follower = Follower([client.address], tls, lambda network_id, name: None)
        await follower.resume(base)
        following = asyncio.create_task(follower.run())
        height = int((await client.status())["height"])
        assert (await follower.reached(height)).network_id == archived.network_id
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await follower.close()


def test_a_new_sn_starts_from_the_checkpoint_with_the_blocks_at_its_head(archived: Archive, tmp_path: Path) -> None:
    start_from(archived.done.checkpoint, tmp_path / "sn-2", sn=True)
    assert extent(tmp_path / "sn-2" / "chain.sqlite") == range(OLD, archived.ledger.chain.height + 1)
    assert read_record(tmp_path / "sn-2").uid not in ("", SN)


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [({"network_id": "f" * 64}, "it is of another network"), ({"block": "f" * 64}, "its head is block .* not ffff")],
)
def test_a_checkpoint_that_is_not_the_one_wanted_makes_no_node(
    archived: Archive, tmp_path: Path, wanted: dict[str, str], fault: str
) -> None:
    with pytest.raises(NodeError, match=fault):
        start_from(archived.done.checkpoint, tmp_path / "new", sn=True, **wanted)
    assert list(tmp_path.iterdir()) == []


def test_a_huge_file_is_no_checkpoint_and_is_not_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.checkpoint"
    with huge.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(NodeError, match="a signed checkpoint has 536870912 at most"):
        start_from(huge, tmp_path / "new", sn=True)


def test_a_place_that_is_taken_is_left_alone(archived: Archive) -> None:
    before = sorted(path.name for path in archived.place.iterdir())
    with pytest.raises(NodeError, match="exists already, and nothing is overwritten"):
        start_from(archived.done.checkpoint, archived.place, sn=True)
    assert sorted(path.name for path in archived.place.iterdir()) == before


def test_an_sn_without_old_blocks_is_backed_up_and_restored(archived: Archive, tmp_path: Path) -> None:
    done = back_up(archived.place, tmp_path / "backup")
    found = restore(tmp_path / "backup", tmp_path / "again")
    assert found.chain.hash == done.manifest.hash
    assert extent(tmp_path / "again" / "chain.sqlite") == extent(archived.place / "chain.sqlite")
    assert Checkpoints(tmp_path / "again").base(archived.network_id) is not None


async def test_nobody_else_signs_for_an_sn_and_its_blocks_stay(archived: Archive, tmp_path: Path) -> None:
    place = tmp_path / "sn"
    place.mkdir()
    write_record(place, NodeRecord(SN, 1, archived.network_id, "test"))
    with ChainWriter(place / "chain.sqlite") as writer:
        for height, raw in enumerate(archived.ledger.blocks[:50]):
            writer.add(height, raw)
    with pytest.raises(NodeError, match="0 of 1 SNs have signed it, 1 have to: SN-1 has not"):
        await archive(place, tmp_path / "archive", archived.sl)
    assert not list((tmp_path / "archive").glob("*.checkpoint"))
    assert extent(place / "chain.sqlite") == range(50)


async def test_blocks_are_not_removed_while_the_sn_runs(archived: Archive) -> None:
    async with at_work(archived):
        with pytest.raises(NodeError, match="another process of this node is running"):
            give_up(archived.place, archived.done)


async def test_the_next_archive_follows_the_first(archived: Archive, tmp_path: Path) -> None:
    first = archived.done.heights.stop
    async with at_work(archived):
        pass  # it seals a block as it starts
    done = await archive(archived.place, tmp_path, archived.sn)
    assert done.heights.start == first
    assert list(Chains([archived.done.blocks, done.blocks, done.checkpoint]).steps())[-1].chain.hash == (
        done.signed.chain.hash
    )
    assert isinstance(done.signed.chain, Chain)
