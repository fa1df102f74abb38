"""What the UI keeps of the ledger, beside the checkpoint: the records of trainings, and an index of all blocks.

They stand at the same height. Where one of them cannot be used all are made anew, from block 0 on.
"""

import asyncio
import logging
import sqlite3
import time
from pathlib import Path
from typing import Final

from swarmlearning.files import replace_file
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.node.checkpoints import EVERY, Checkpoints, Source
from swarmlearning.operator.reading import RECORDS
from swarmlearning.ui.network.index import Index
from swarmlearning.views.report import Recorder

logger = logging.getLogger("swarm.ui")

LEAST_SECONDS: Final = 10.0
"""Between two checkpoints: records are written as a whole."""


class Records(Checkpoints):
    """The checkpoint of the UI's folder of a network; `add` gets each block that is verified."""

    def __init__(self, folder: Path, index: Index) -> None:
        super().__init__(folder)
        self._folder = folder
        self.recorder = Recorder()
        self.index = index

    def read(self, network_id: str) -> Chain | None:
        """The chain to go on from, with records and index of its height; None where one of them is missing.

        It is the one in memory where there is one: a link is made anew. Until the next block all stays as it was known.
        """
        known = self.recorder.chain
        if known.height >= 0 and known.network_id == network_id and known.height not in known.voids:
            return known
        chain = super().read(network_id) if network_id else None
        if chain is None:
            return None
        try:
            recorder = Recorder.resumed(chain, (self._folder / RECORDS).read_bytes())
        except (OSError, ValueError) as error:
            logger.info("the ledger is read from its beginning: %s", error)
            return None
        if self.index.hash_at(chain.height) != chain.hash:
            logger.info("the ledger is read from its beginning: the index is of another height")
            return None
        self.recorder = recorder
        return chain

    def add(self, step: Step) -> None:
        """Takes in the next verified block."""
        if step.chain.height == 0 and self.recorder.chain.height >= 0:
            self.recorder = Recorder()  # the checkpoint was not that of the SN's chain
        self.recorder.add(step)
        self.index.add(step)

    async def keep(self, source: Source) -> None:
        """Writes a checkpoint after `EVERY` blocks, not too often, and one when cancelled."""
        written = source.chain.height
        try:
            while True:
                await source.reached(written + EVERY)
                chain, saved = self.recorder.chain, self.recorder.saved()
                await asyncio.to_thread(self._write, chain, saved)
                written = chain.height
                await asyncio.sleep(LEAST_SECONDS)
        finally:
            if self.recorder.chain.height != written:
                self._write(self.recorder.chain, self.recorder.saved())

    def _write(self, chain: Chain, saved: bytes) -> None:
        if chain.height < 0 or chain.height in chain.voids:
            return
        begun = time.monotonic()
        try:
            self.index.flush()
            replace_file(self._folder / RECORDS, saved)
        except (OSError, sqlite3.Error) as error:
            logger.warning("%s cannot be written (%s): the next start may take longer", self._folder, error)
            return
        super().write(chain)
        logger.debug("checkpoint at height %d in %.2f s", chain.height, time.monotonic() - begun)
