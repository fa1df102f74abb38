"""The doctor, run by the UI: what is wrong, whose fault it is, what to do, and who reaches whom."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from swarmlearning.doctor.findings import Finding, Report, Way
from swarmlearning.doctor.network import Standpoint, Work, examine_network
from swarmlearning.doctor.sight import examine_status
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.license.servers import LicenseServers
from swarmlearning.node.clocks import clock_ms
from swarmlearning.operator.explaining import accounts_of
from swarmlearning.operator.session import Operator
from swarmlearning.ui.hosts.progress import HostsJob, Tell
from swarmlearning.ui.network.feed import Feed, NoNetworkError
from swarmlearning.views.evidence import Account
from swarmlearning.views.names import displayed

MOST_EXPLAINED: Final = 4
"""Trainings whose sites are asked what they do."""
MOST_LINES: Final = 200
LONGEST: Final = 1500


class Examined(msgspec.Struct, frozen=True):
    """What was found: `wrong` with the likeliest cause first. `ways`: who has tried to reach whom."""

    by: str
    ended_ms: int
    seconds: float
    wrong: list[Finding]
    notes: list[str]
    fine: list[str]
    unknown: list[str]
    ways: list[Way]


@dataclass(frozen=True)
class Told:
    """What the sites of a training have stated of a round."""

    run: int
    round: int | None
    accounts: Mapping[str, Account] = field(default_factory=dict)


class Examiner:
    """`last` is what was found last; `told`: what sites stated then, by contract."""

    def __init__(self, licenses: LicenseServers) -> None:
        self._licenses = licenses
        self.last: Examined | None = None
        self.told: dict[str, Told] = {}

    def job(self, feed: Feed, by: str) -> HostsJob:
        """An examination of the feed's network, for whoever has asked for it."""
        return HostsJob({"": partial(self._examine, feed, by)})

    async def _examine(self, feed: Feed, by: str, _tell: Tell) -> str:
        begun, report = time.monotonic(), Report()
        sns = [
            each for each in dict.fromkeys((feed.seen.address, *feed.addresses)) if each
        ]  # the one that answers first
        await examine_network(standpoint(feed, self._licenses), sns, report)
        if not report.wrong and report.unknown and feed.seen.found is not None:  # what has answered the UI before
            examine_status(feed.seen.found, report)
        if feed.may_act:
            self.told = await _asked(feed)
        self.last = _examined(report, by, time.monotonic() - begun)
        count = len(self.last.wrong)
        return "nothing wrong found" if not count else "1 finding" if count == 1 else f"{count} findings"


def standpoint(feed: Feed, licenses: LicenseServers) -> Standpoint:
    """The UI's: its operator is at work already, and it has the ledger. Raises `NoNetworkError`."""
    if feed.identity is None:
        raise NoNetworkError

    async def use(_address: str, _network_id: str, work: Work) -> None:
        await feed.use(work)

    async def ledger(_address: str) -> tuple[Chain, str | None]:
        if feed.chain.height < 0:
            raise UserError("the UI has not read it yet")
        return feed.chain, None

    return Standpoint(feed.identity, use, ledger, feed.chain.network_id, license_servers=licenses)


async def _asked(feed: Feed) -> dict[str, Told]:
    """What the sites of trainings in progress state of their rounds; nothing where they cannot be asked."""
    found = dict[str, Told]()

    async def ask(operator: Operator) -> None:
        if not operator.known:
            await operator.register()
        for state in in_progress(operator.chain):
            number = state.round.number if state.round else None
            accounts = await accounts_of(operator, sorted(state.members), state.name, None)
            found[state.name] = Told(state.run, number, accounts)

    try:
        await feed.use(ask)
    except UserError:
        return {}
    return found


def in_progress(chain: Chain) -> list[Training]:
    """The trainings that are under way, as many as are explained."""
    if chain.height < 0:
        return []
    return [each for each in chain.world.area("training/", Training) if each.members and not each.over][:MOST_EXPLAINED]


def _examined(report: Report, by: str, seconds: float) -> Examined:
    """The report within bounds, and safe to show: nodes of others have written parts of it."""

    def safe(lines: list[str]) -> list[str]:
        return [displayed(each, LONGEST) for each in lines[:MOST_LINES]]

    return Examined(
        by=by,
        ended_ms=clock_ms(),
        seconds=round(seconds, 1),
        wrong=[
            Finding(each.code, *safe([each.subject, each.text, each.remedy])) for each in report.ordered[:MOST_LINES]
        ],
        notes=safe(report.notes),
        fine=safe(report.fine),
        unknown=safe(report.unknown),
        ways=report.ways,
    )
