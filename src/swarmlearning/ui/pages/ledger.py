"""The ledger: its newest blocks, a search, one block with all that is in it, and a check of the chain's integrity."""

import asyncio
import re
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Path, Query

from swarmlearning.ledger.block import Block, outline, read_header
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.contracts.training.bodies import Publish
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import MalformedError, SignedTransaction, Transaction
from swarmlearning.node.errors import NodeError
from swarmlearning.ui.network.index import Entry, Index, SlowSearchError
from swarmlearning.ui.network.verification import Verified
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.names import LONGEST_PERSON, Names, displayed, escaped, name_of, node_names

PATH = "/ledger"
BLOCKS: Final = 50
"""Of one page."""
MOST_FOUND: Final = 200
LONGEST_SEARCH: Final = 200
MOST_WORDS: Final = 8
DIGEST: Final = re.compile("[0-9a-f]{8,64}")
LARGEST: Final = 2**62
LONGEST_BODY: Final = 20_000


class Row(msgspec.Struct, frozen=True):
    """A transaction; of the further ones of a block `first` is false. `sealer` and `sender` are names, `person`: for
    whom the sender has acted, empty where none is stated."""

    height: int
    time_ms: int
    hash: str
    sealer: str
    void: str
    kind: str
    sender: str
    person: str
    contract: str
    id: str
    first: bool


class LedgerView(msgspec.Struct, frozen=True):
    """Blocks below `below`, the newest first, or what a search has found. `older`: where to go on; None at
    the end; `later`: there are newer ones.
    `found`: the block whose hash, or one of whose transactions, begins as the search does."""

    height: int
    network_id: str
    hash: str
    growth: str
    search: str
    rows: list[Row]
    older: int | None
    later: bool
    found: int | None
    verification: Verified


class Told(msgspec.Struct, frozen=True):
    """A transaction with all that it says: `body` as indented JSON, safe to show; `person`: for whom it was sent."""

    id: str
    kind: str
    sender: str
    person: str
    signer: str
    contract: str
    anchor: int
    body: str


class Part(msgspec.Struct, frozen=True):
    """A site's part in a round, by its receipt: merged with this weight, or left out, and why."""

    site: str
    merged: bool
    weight: float | None
    distance: float | None
    cosine: float | None
    why: str


class Receipt(msgspec.Struct, frozen=True):
    """The receipt of a round: who has led it, what came out, and everybody's part."""

    contract: str
    round: int
    leader: str
    result: str
    method: str
    parts: list[Part]


class BlockView(msgspec.Struct, frozen=True):
    """A block as an SN has sent it; its hash is the one that was verified here."""

    height: int
    last: int
    hash: str
    previous: str
    time_ms: int
    sealer: str
    rules_version: int
    state_hash: str
    bytes: int
    void: str
    transactions: list[Told]
    receipts: list[Receipt]


def add_ledger(app: FastAPI) -> None:
    """The pages, and the check."""

    @page(app, PATH, "ledger.html")
    async def ledger(
        visit: Here,
        search: Annotated[str, Query(max_length=LONGEST_SEARCH)] = "",
        below: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
    ) -> LedgerView:
        return await ledger_view(visit, search.strip(), below)

    @page(app, "/ledger/{height:int}", "block.html")
    async def block(visit: Here, height: Annotated[int, Path(ge=0, le=LARGEST)]) -> BlockView:
        return await block_view(visit, height)

    @action(app, "/ledger/verify", PATH)
    async def verify(visit: Here) -> Done:
        visit.feed.verification.start()
        return Done(Flash("waits", visit.text("ledger.verifying"), "swarm ledger verify"), PATH)


async def ledger_view(visit: Visit, search: str, below: int | None) -> LedgerView:
    """The page's data."""
    feed, chain = visit.feed, visit.feed.chain
    names, index = node_names(chain.world), visit.feed.index
    before = chain.height + 1 if below is None else min(below, chain.height + 1)
    entries: list[Entry] = []
    if index is not None and search:
        entries = await _found(visit, index, search, before)
    elif index is not None:
        entries = await asyncio.to_thread(index.newest, before, BLOCKS)
    lowest = entries[-1].height if entries else 0
    more = lowest > 0 and (not search or len(entries) == MOST_FOUND)
    found = await asyncio.to_thread(index.find, search) if index and DIGEST.fullmatch(search) else None
    return LedgerView(
        height=chain.height,
        network_id=chain.network_id,
        hash=chain.hash,
        growth=str(feed.recorder.growth) if chain.height >= 0 else "",
        search=search,
        rows=[_row(each, names, at, entries) for at, each in enumerate(entries)],
        older=lowest if more else None,
        later=below is not None,
        found=found,
        verification=feed.verification.now,
    )


async def _found(visit: Visit, index: Index, search: str, before: int) -> list[Entry]:
    """What is found below this height. Searches run one after another: who waits for another one's keeps no thread."""
    async with visit.site.searching:
        try:
            return await asyncio.to_thread(index.search, search.split()[:MOST_WORDS], before, MOST_FOUND)
        except SlowSearchError:
            raise Denied(503, "ledger.search-slow") from None


def _row(entry: Entry, names: Names, at: int, entries: list[Entry]) -> Row:
    return Row(
        height=entry.height,
        time_ms=entry.time_ms,
        hash=entry.hash,
        sealer=name_of(names, entry.sealer),
        void=displayed(entry.void, 300),
        kind=entry.kind,
        sender=name_of(names, entry.sender) if entry.sender else "",
        person=displayed(entry.person, LONGEST_PERSON),
        contract=displayed(entry.contract),
        id=entry.id,
        first=at == 0 or entries[at - 1].height != entry.height,
    )


async def block_view(visit: Visit, height: int) -> BlockView:
    """A block's data. Raises `Denied` for one that there is not, `UserError` where no SN gives it."""
    feed, index = visit.feed, visit.feed.index
    known = await asyncio.to_thread(index.hash_at, height) if index is not None else ""
    if not known:
        raise Denied(404, "ledger.no-block")
    raw = await feed.block(height)
    if sha256(raw) != known:
        raise NodeError(visit.text("ledger.other-block", height=height))
    found, void = await asyncio.to_thread(_read, raw)
    names, header = node_names(feed.chain.world), found.header
    return BlockView(
        height=height,
        last=feed.chain.height,
        hash=known,
        previous=header.previous,
        time_ms=header.time_ms,
        sealer=name_of(names, header.sealer),
        rules_version=header.rules_version,
        state_hash=header.state_hash,
        bytes=len(raw),
        void=void,
        transactions=[_told(signed, names) for signed in found.transactions],
        receipts=[
            _receipt(signed.content, signed.content.body, names)
            for signed in found.transactions
            if isinstance(signed.content.body, Publish)
        ],
    )


def _read(raw: bytes) -> tuple[Block, str]:
    """The block, by the rules that it states; one whose transactions cannot be read has none."""
    try:
        return RULES[read_header(raw).rules_version].read(raw), ""
    except (MalformedError, KeyError) as error:
        return outline(raw), displayed(str(error), 300)


def _told(signed: SignedTransaction, names: Names) -> Told:
    content = signed.content
    body = msgspec.json.format(msgspec.json.encode(content.body), indent=2).decode()
    return Told(
        id=signed.id,
        kind=signed.kind,
        sender=name_of(names, content.sender),
        person=displayed(content.on_behalf_of, LONGEST_PERSON),
        signer=signed.signer,
        contract=displayed(content.contract),
        anchor=content.anchor.height,
        body=escaped(body[:LONGEST_BODY], keep="\n"),
    )


def _receipt(content: Transaction, body: Publish, names: Names) -> Receipt:
    total = sum(part.coefficient for part in body.receipt.contributions) or 1
    merged = [
        Part(name_of(names, part.uid), True, part.coefficient / total, part.distance, part.cosine, "")
        for part in body.receipt.contributions
    ]
    left_out = [
        Part(name_of(names, part.uid), False, None, None, None, displayed(part.why, 300))
        for part in body.receipt.exclusions
    ]
    return Receipt(
        contract=displayed(content.contract),
        round=body.round,
        leader=name_of(names, content.sender),
        result=body.result,
        method=body.receipt.method,
        parts=[*merged, *left_out],
    )
