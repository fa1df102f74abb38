"""Repairing a stopped SN's chain file: what is damaged, or is not the network's, is fetched anew from the others.

Nothing is believed: the blocks that stay and those that come are replayed together, from the pinned genesis on. The old
file is kept.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain, ForkError, UnsupportedRulesError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import BrokenChainError, steps
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.local import LocalLog, iterate_chain_file
from swarmlearning.ordering.protocols import EMPTY, Head, OrderingError
from swarmlearning.sn.node import CHAIN_FILE

FILES = (CHAIN_FILE, f"{CHAIN_FILE}-wal", f"{CHAIN_FILE}-shm")


class Repaired(NamedTuple):
    """The outcome of a repair: the fault (empty: there was none), blocks kept and fetched, the path of the old file."""

    fault: str
    kept: int
    fetched: int
    old: Path | None


class _Local(NamedTuple):
    """The valid part of the chain file: hashes by height, the chain after them, and the fault that ends it."""

    hashes: list[str]
    chain: Chain
    fault: str


async def repair(place: DataDirectory, identity: Identity, named: str = "") -> Repaired:
    """Repairs the chain file of this data directory from any SN it knows, or the one `named` (host:port).

    Raises `NodeError` when no SN answers, or one shows a chain that cannot be; the file is as it was then.
    """
    path = place.path / CHAIN_FILE
    local = _read(path)
    addresses = [*([named] if named else []), *network.sn_addresses(local.chain.world, besides=place.uid)]
    source, height = await _source(addresses, identity, place, local.fault)
    async with source:
        shared = await _shared(source, local.hashes, height)
        fault = local.fault or _strange(local, shared, height)
        if not fault:
            return Repaired("", len(local.hashes), 0, None)
        new = place.path / f"{CHAIN_FILE}.new"
        new.unlink(missing_ok=True)
        await _write(new, path, source, shared, height)
    return Repaired(fault, shared + 1, height - shared, _replace(place, new))


def _read(path: Path) -> _Local:
    hashes, chain = list[str](), Chain()
    try:
        for step in steps(iterate_chain_file(path)):
            chain = step.chain
            hashes.append(chain.hash)
    except (OrderingError, BrokenChainError) as error:
        return _Local(hashes, chain, str(error))
    return _Local(hashes, chain, "")


def _strange(local: _Local, shared: int, height: int) -> str:
    if shared < min(local.chain.height, height):
        return f"block {shared + 1} is not the network's"
    return ""


async def _source(
    addresses: Sequence[str], identity: Identity, place: DataDirectory, fault: str
) -> tuple[SnClient, int]:
    """The first SN that answers, and its height; its network is this node's. The caller closes it."""
    reasons = []
    for address in dict.fromkeys(addresses):
        client = SnClient(address, client_context(identity))
        try:
            status = await client.status()
            place.pin(status["network_id"], status["network"])
            return client, int(status["height"])
        except (Unavailable, Refusal) as error:
            reasons.append(str(error))
            await client.close()
        except NodeError:
            await client.close()
            raise
    raise NodeError(
        f"{fault or 'the chain file is valid'}; but no other SN can be reached "
        f"({'; '.join(reasons) or 'none is known'}). Name one with --sentinel-ip"
    )


async def _shared(source: SnClient, hashes: Sequence[str], height: int) -> int:
    """The highest block that is the same here and there, -1 for none; a search by halves, since blocks are linked."""
    low, high = -1, min(len(hashes) - 1, height)
    while low < high:
        middle = (low + high + 1) // 2
        if sha256(await _block(source, middle)) == hashes[middle]:
            low = middle
        else:
            high = middle - 1
    return low


async def _write(new: Path, old: Path, source: SnClient, shared: int, height: int) -> None:
    """The chain up to `height`: blocks up to `shared` from the old file, the others from `source`, all verified."""
    log, head, chain = LocalLog(new), EMPTY, Chain()
    try:
        kept = _first(old, shared + 1)
        for at in range(height + 1):
            raw = next(kept) if at <= shared else await _block(source, at)
            chain = chain.append(raw).chain
            head = await log.append(head, raw)
            assert head == Head(chain.height, chain.hash)
    except (ForkError, MalformedError, UnsupportedRulesError) as error:
        raise NodeError(f"SN {source.address} has sent an invalid chain: {error}") from error
    finally:
        log.close()


def _first(path: Path, count: int) -> Iterator[bytes]:
    blocks = iterate_chain_file(path)
    for _ in range(count):
        yield next(blocks)


async def _block(source: SnClient, height: int) -> bytes:
    try:
        return await source.block(height)
    except (Unavailable, Refusal) as error:
        raise NodeError(f"block {height} cannot be fetched: {error}") from error


def _replace(place: DataDirectory, new: Path) -> Path:
    """Puts the new file in place; the old one, with SQLite's files beside it, is kept in a folder of its own."""
    folder = place.path / f"damaged-{place.incarnation}"
    folder.mkdir()
    for name in FILES:
        if (place.path / name).exists():
            shutil.copy2(place.path / name, folder / name)
    for name in FILES[1:]:  # they belong to the old file and must not be applied to the new one
        (place.path / name).unlink(missing_ok=True)
    new.replace(place.path / CHAIN_FILE)
    return folder
