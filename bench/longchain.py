"""A long chain for a benchmark: written by a real miner into an SN's data directory, and kept for the next run.

All transactions are signed, judged and sealed as in a network; only the way over HTTP is left out. One client announces
one address after another, and each block holds as many transactions as a busy network's.
"""

import asyncio
import hashlib
import shutil
import tempfile
import time
from pathlib import Path

import swarmlearning
from launch import make_identities
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.source import Latest
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Announce, Body, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.organisations import NOT_DESCRIBED
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.node.sender import Author
from swarmlearning.ordering.local import LocalLog
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.sn.peers import Peers
from swarmlearning.sn.registration import Registration

CACHE = Path(__file__).parent.parent / ".tools" / "long-chains"
PER_BLOCK = 100
CERTIFICATE_DAYS = 3650
SN, SL, CLIENT = "SN-1", "SL-1", "SWCI-1"
PACKAGE = Path(swarmlearning.__file__).parent
DECIDES_THE_CHAIN = ("ledger", "identity", "node/datadir.py")
"""Parts of the package: where one of them has changed, a chain that was kept may not hold any more."""


async def long_chain(folder: Path, transactions: int) -> Workspace:
    """Copies a data directory `SN-1` with such a chain into `folder`, and the certificates of SN-1 and SL-1."""
    kept = CACHE / _fingerprint(transactions)
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            await _build(Path(name, "chain"), transactions)
            Path(name, "chain").replace(kept)  # noqa: ASYNC240
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    return Workspace(folder / "cert")


def _fingerprint(transactions: int) -> str:
    digest = hashlib.sha256(f"{transactions} {PER_BLOCK}".encode())
    for part in DECIDES_THE_CHAIN:
        for path in sorted([PACKAGE / part, *(PACKAGE / part).rglob("*.py")]):
            if path.is_file():
                digest.update(path.read_bytes())
    return f"{transactions}-{digest.hexdigest()[:16]}"


async def _build(folder: Path, transactions: int) -> None:
    workspace = make_identities(folder / "cert", [SN, SL, CLIENT], days=CERTIFICATE_DAYS)
    identity = workspace.identity(SN)
    with DataDirectory(folder / SN) as place:
        log = LocalLog(folder / SN / CHAIN_FILE)
        miner = Miner(log, place.uid, identity.signer(), lambda: time.time_ns() // 1_000_000)
        author = Author(identity.signer(), place.uid, place.incarnation)
        peers = Peers(place.uid, client_context(identity), lambda: miner.chain, "")
        own = LiveIdentity(Latest(identity))
        await Registration(SN, own, NOT_DESCRIBED, author, miner, peers).found("bench-start")
        place.pin(miner.chain.network_id, "bench-start")
        mining = asyncio.create_task(miner.run())
        await _fill(miner, workspace, transactions)
        mining.cancel()
        await asyncio.wait([mining])
        log.close()
        await peers.close()


async def _fill(miner: Miner, workspace: Workspace, transactions: int) -> None:
    identity = workspace.identity(CLIENT)
    author = Author(identity.signer(), "5c1e6a0e-0000-4000-8000-000000000001", incarnation=1)
    bodies: list[Body] = [Register("SWCI", CLIENT, to_pem(identity.certificate), "0")]
    bodies += [Announce({"fs": f"site-{number}:30305"}) for number in range(2, transactions)]
    for first in range(0, len(bodies), PER_BLOCK):
        signed = [author.write(miner.chain, network.CONTRACT, body) for body in bodies[first : first + PER_BLOCK]]
        await asyncio.gather(*(miner.commit(one) for one in signed))
