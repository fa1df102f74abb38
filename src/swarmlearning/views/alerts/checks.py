"""Alerts about results that members have checked: slices that have other bytes than the sites' models give."""

from collections.abc import Iterator

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.views.alerts.alert import Alert, Facts
from swarmlearning.views.checks import round_checks
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.render import listed

REMEDY = "one of them lies, or has a machine that computes wrongly: compare their logs, and have all sites check rounds"


def check_alerts(facts: Facts) -> Iterator[Alert]:
    """One for each training in which some have been found, by whom and of whom."""
    names = node_names(facts.world)
    for state in facts.world.area("training/", Training):
        checks = round_checks(state)
        if checks is None or not checks.wrong:
            continue
        mergers = sorted({uid for each in checks.wrong for uid in each.merged_by})
        finders = sorted({uid for each in checks.wrong for uid in each.found_by})
        slices = ", ".join(str(each.slice + 1) for each in checks.wrong)
        name = displayed(state.name)
        yield Alert(
            "wrong-slice",
            "critical",
            name,
            f"in round {checks.round} of training {name} slices of {listed([name_of(names, uid) for uid in mergers])} "
            f"have other bytes than the sites' models give, as stated by "
            f"{listed([name_of(names, uid) for uid in finders])}: {slices}",
            REMEDY,
            tuple(mergers),
        )
