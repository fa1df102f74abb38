"""The sealing of blocks by one SN: at most one for each height, since two would prove that it deceives somebody.

A block that was sealed and not ordered (the answer was unclear, or this process ended meanwhile) is offered again as
long as the head is the same. So what an honest SN has sealed never speaks against it, whoever keeps it.
"""

import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from swarmlearning.identity.signing import Signers
from swarmlearning.ledger.admission import check_trusted
from swarmlearning.ledger.block import Header, read_header
from swarmlearning.ledger.chain import Chain, ForkError, Step
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError, SignedTransaction
from swarmlearning.ledger.world import World
from swarmlearning.node.signers import registered_signer
from swarmlearning.ordering.protocols import OrderingError, UnavailableError

logger = logging.getLogger("swarm.blCnt")

SEALED_FILE = "sealed"
"""The file in the data directory with the newest block that this SN has sealed."""


class Sealer:
    """Seals for the SN `uid`; the file `kept` has its newest block for later starts of this SN, if it is given."""

    def __init__(self, uid: str, signers: Signers, kept: Path | None = None) -> None:
        self._uid = uid
        self._signers = signers
        self._kept = kept
        self._newest = kept.read_bytes() if kept is not None and kept.is_file() else b""
        self._header = _header(self._newest)

    def unordered(self, chain: Chain) -> Step | None:
        """The chain after the block that this SN has sealed on this head before, if there is one.

        Raises `UnavailableError` where it has sealed that height, or a higher one, on another head: others go on.
        """
        if self._header is None or self._header.height <= chain.height:
            return None
        if (self._header.height, self._header.previous) != (chain.height + 1, chain.hash):
            raise UnavailableError(
                f"this SN has sealed block {self._header.height} of another chain before, and waits for the others to "
                "seal that many"
            )
        try:
            step = chain.append(self._newest)
        except (ForkError, MalformedError):
            return None
        return step if step.void is None else None

    def seal(self, chain: Chain, transactions: Sequence[SignedTransaction], world: World, time_ms: int) -> Step:
        """The chain after a new block, which nobody has yet. Raises `OrderingError` when this SN may not seal it.

        It is sealed by the certificate that this SN has after it: the block itself may renew that.
        """
        block = chain.seal(transactions, world, time_ms, self._uid, registered_signer(self._signers, world, self._uid))
        try:
            step = chain.extend(block, world)
        except Rejection as error:
            raise OrderingError(f"this SN cannot seal block {block.header.height}: {error}") from error
        self._keep(block.raw)
        self._newest, self._header = block.raw, block.header
        return step

    def _keep(self, raw: bytes) -> None:
        """Writes the block, so that a process which was killed knows of it; after a power cut it may be lost.

        In place, since a file that replaces another one goes to the disk at once, which costs milliseconds a block. If
        this process is killed meanwhile, what it has written in part was offered to nobody.
        """
        if self._kept is None:
            return
        try:
            file = os.open(self._kept, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.pwrite(file, raw, 0) < len(raw):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.ftruncate(file, len(raw))
            finally:
                os.close(file)
        except OSError as error:
            raise OrderingError(
                f"{self._kept}: cannot keep the sealed block ({error.strerror}). Make room on its disk; the next "
                "transaction is tried again"
            ) from error

    def require_seal(self, chain: Chain, world: World, time_ms: int) -> None:
        """Refuses a transaction after which this SN could not seal the block, which would fail with all that is in it.

        Raises `UnavailableError` when another SN can seal it, `Rejection` when there is none.
        """
        try:
            if not network.admits(world, self._uid):
                raise Rejection(Code.SEALER, "this SN would not be admitted any more")
            registered = check_trusted(world, self._uid, time_ms).thumbprint
            if self._signers.by(registered).thumbprint != registered:
                raise Rejection(Code.SEALER, "this SN would be registered with another certificate than it seals with")
        except Rejection as fault:
            if [sn.uid for sn in network.admitted(chain.world) if sn.uid != self._uid]:
                where = f"this SN cannot seal block {chain.height + 1} with this transaction"
                raise UnavailableError(f"{where}: {fault.detail}; send it to another SN") from fault
            raise

    def turns_before(self, world: World, newest: str) -> int:
        """The number of SNs whose turn to seal comes before this one's, after `newest`; a witness has none."""
        sns = [sn.uid for sn in network.admitted(world) if "api" in sn.addresses]
        after = [*(each for each in sns if each > newest), *(each for each in sns if each <= newest)]
        return after.index(self._uid) if self._uid in after else len(after)


def _header(raw: bytes) -> Header | None:
    try:
        return read_header(raw) if raw else None
    except MalformedError as error:
        logger.warning("the block that this SN has sealed last is damaged: %s", error)
        return None
