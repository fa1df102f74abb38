"""The page of diagnostics: what is wrong and what to do, why a round takes so long, and archives of logs."""

from collections.abc import Sequence

import msgspec

from swarmlearning.doctor.findings import Way
from swarmlearning.errors import UserError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.operator.explaining import explain
from swarmlearning.ui.diagnostics.archives import ArchiveFile
from swarmlearning.ui.diagnostics.examining import Examined, Examiner, in_progress
from swarmlearning.ui.network.feed import Feed
from swarmlearning.views.explaintext import headline, notes, remedy, share_text, site_text, span_text
from swarmlearning.views.names import displayed, name_of, node_names

SHOWN = 0.005
"""A smaller share of a round's time explains nothing."""
KINDS = ("SN", "SWOP", "SL")
MOST_ROWS = 64
"""Nodes of a matrix; the data have all."""
OK = "ok"


class ShareRow(msgspec.Struct, frozen=True):
    """A part of a round's time, `share` from 0 to 1, how long it is, and what it went to."""

    share: float
    time: str
    text: str


class RoundNow(msgspec.Struct, frozen=True):
    """Why the round in progress of a training is not over. `asked`: its sites have been asked what they do."""

    contract: str
    headline: str
    remedy: str
    shares: list[ShareRow]
    sites: list[tuple[str, str]]
    notes: list[str]
    asked: bool


class MatrixRow(msgspec.Struct, frozen=True):
    """Who has tried, and what came of each other one: the worst code, `ok`, or nothing where nothing was tried."""

    origin: str
    cells: list[str]


class Matrix(msgspec.Struct, frozen=True):
    """Who reaches whom: a column for each target."""

    targets: list[str]
    rows: list[MatrixRow]


class NodeChoice(msgspec.Struct, frozen=True):
    """A node whose logs may be asked for."""

    uid: str
    name: str
    kind: str
    organisation: str


class DiagnosticsView(msgspec.Struct, frozen=True):
    """All of it. `examining` and `collecting`: the number of the job that does so now; `examined`: what was found last,
    None where nothing was looked for since the UI has started. `hosts`: their addresses; `keeps`: whether logins there
    can be kept."""

    examining: int | None
    examined: Examined | None
    matrix: Matrix
    rounds: list[RoundNow]
    nodes: list[NodeChoice]
    hosts: list[str]
    keeps: bool
    collecting: int | None
    archives: list[ArchiveFile]
    most_mb: int
    commands: dict[str, str]


def rounds_now(feed: Feed, examiner: Examiner) -> list[RoundNow]:
    """The rounds in progress, as the ledger, heartbeats, and what sites stated last of the same round explain them."""
    found = list[RoundNow]()
    for state in in_progress(feed.chain):
        told = examiner.told.get(state.name)
        same = told is not None and (told.run, told.round) == (state.run, _number(state))
        accounts = told.accounts if told is not None and same else {}
        try:
            answer = explain(feed.recorder, state.name, None, accounts, feed.seen.found, feed.seen.now_ms())
        except UserError:  # it has ended meanwhile
            continue
        found.append(
            RoundNow(
                contract=displayed(state.name),
                headline=headline(answer),
                remedy=remedy(answer),
                shares=[
                    ShareRow(each.share, span_text(each.seconds), share_text(each))
                    for each in answer.shares
                    if each.share >= SHOWN
                ],
                sites=[(each.site, site_text(each)) for each in answer.sites],
                notes=notes(answer),
                asked=bool(accounts),
            )
        )
    return found


def _number(state: Training) -> int | None:
    return state.round.number if state.round else None


def matrix(ways: Sequence[Way]) -> Matrix:
    """The tries as a table: of each pair the worst that came of it."""
    targets = sorted({way.target for way in ways})[:MOST_ROWS]
    origins = sorted({way.origin for way in ways})[:MOST_ROWS]
    worst = {(way.origin, way.target): OK for way in ways}
    worst |= {(way.origin, way.target): way.code for way in ways if way.code != OK}
    return Matrix(targets, [MatrixRow(name, [worst.get((name, each), "") for each in targets]) for name in origins])


def choices(feed: Feed) -> list[NodeChoice]:
    """The nodes that have logs and have not left, SNs first."""
    if feed.chain.height < 0:
        return []
    world = feed.chain.world
    names = node_names(world)
    found = [
        NodeChoice(each.uid, name_of(names, each.uid), each.type, displayed(each.organisation))
        for each in network.nodes(world)
        if each.type in KINDS and not each.left
    ]
    return sorted(found, key=lambda each: (KINDS.index(each.kind), len(each.name), each.name))
