"""Which script holds its training up and trains no batch, as the site's own node states its times."""

from typing import Final

import msgspec

from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.matrix import called
from swarmlearning.ledger.contracts.training.state import Training, awaited
from swarmlearning.node.clocks import clock_ms
from swarmlearning.operator.explaining import accounts_of
from swarmlearning.operator.session import Operator
from swarmlearning.views.evidence import Evidence
from swarmlearning.views.explain import explain_now
from swarmlearning.views.explaintext import headline, remedy

HANGS_SECONDS: Final = 30.0
"""Without a batch. `swarm explain` says sooner that a script trains none; an evaluation between two batches is no
fault yet."""
MOST_ASKED: Final = 24
"""Sites of a training: these answer in the time that there is."""


async def find_hanging(operator: Operator, report: Report) -> None:
    """Asks the sites that rounds in progress wait for what their scripts do."""
    world = operator.chain.world
    for state in world.area("training/", Training):
        if not state.over and state.round is not None:
            asked = sorted(awaited(state))[:MOST_ASKED]
            accounts = await accounts_of(operator, asked, state.name, None)
            now_ms = max(clock_ms(), operator.chain.time_ms)
            examine_scripts(Evidence(world, state, None, now_ms, accounts), report)


def examine_scripts(evidence: Evidence, report: Report) -> None:
    """Each script that the round in progress waits for, and that hangs, is a finding. Pure."""
    found = explain_now(evidence)
    for site in found.sites:
        if site.awaited and site.frozen and site.idle_seconds >= HANGS_SECONDS:
            told = msgspec.structs.replace(found, cause="frozen", site=site.site, replaced=())
            text = f"holds training {found.contract} up: {headline(told)}"
            report.find("ml-hangs", called("SL", site.site), text, remedy(told))
