"""What the network survives now: which failures of SNs would end ordering, and which of sites a training's rounds."""

from collections.abc import Iterator
from typing import Final

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import (
    Training,
    needed_organisations,
    organisations_of,
    present_members,
)
from swarmlearning.views.alerts.alert import Alert, Facts, Ordering
from swarmlearning.views.names import displayed, fetch_addresses, name_of, node_names
from swarmlearning.views.render import listed

FEW: Final = 3
"""Names of those who must not fail are given of so many; of more it is enough that any of them counts."""


def survival_alerts(facts: Facts) -> Iterator[Alert]:
    """One for ordering, one for each training under way; no faults."""
    if facts.ordering is not None and facts.ordering.majority is not None:
        text, remedy, needed = _of_ordering(facts, facts.ordering)
        yield Alert("survives", "info", "ordering", text, remedy, needed)
    for state in facts.world.area("training/", Training):
        if state.terms is not None and not state.over and state.round is not None:
            yield _of_training(facts, state)
    yield from _of_relays(facts)


def _of_ordering(facts: Facts, ordering: Ordering) -> tuple[str, str, tuple[str, ...]]:
    if ordering.alone:
        return (
            "rounds stop while the only SN is down",
            "for more, install etcd and add two SNs",
            (facts.own,),
        )
    voters = ordering.voters
    running = tuple(uid for uid in voters if facts.present(uid))
    spare = len(running) - (len(voters) // 2 + 1)
    if spare < 0:
        return f"rounds stop now: {len(running)} of {len(voters)} voting SNs run", "start the others", ()
    if not spare:
        names = [name_of(node_names(facts.world), uid) for uid in running]
        which = listed(names) if len(names) <= FEW else f"any of the {len(names)} running"
        return (
            f"rounds stop when one more SN fails ({which})",
            "start the SN that is missing" if len(running) < len(voters) else "add an SN: three survive one failure",
            running,
        )
    return f"any {spare} of the {len(running)} running SNs may fail" + (" at once" if spare > 1 else ""), "", ()


def _of_training(facts: Facts, state: Training) -> Alert:
    assert state.terms is not None
    names, name = node_names(facts.world), displayed(state.name)
    here = sorted(present_members(state))
    spare = len(here) - state.terms.min_peers
    organisations = len(organisations_of(state, here)) - needed_organisations(state)
    leaders = [uid for uid in here if state.members[uid].may_lead and not state.members[uid].unreachable]
    several = needed_organisations(state) > 1
    if spare < 0 or (several and organisations < 0):
        there = f"{len(here)} site{'s are' if len(here) != 1 else ' is'} there"
        text = f"its rounds wait now: {there}, minPeers {state.terms.min_peers}"
        left = [name_of(names, uid) for uid, one in sorted(state.members.items()) if one.attendance == "left"]
        return _told(name, text + f"; {listed(left)} left: start what has left again" * bool(left))
    if len(leaders) == 1:
        only = name_of(names, leaders[0])
        return _told(name, f"its rounds wait when {only} fails, the only site that may lead", (leaders[0],))
    if not spare:
        return _told(name, f"its rounds wait when one of its {len(here)} sites fails (minPeers)", tuple(here))
    if several and not organisations:
        return _told(name, "its rounds wait when all sites of one organisation fail", tuple(here))
    many = f"any {spare} of its {len(here)} sites may fail"
    whole = f", of no more than {organisations} organisation{'s' * (organisations != 1)} as a whole"
    return _told(name, many + whole * several)


def _told(name: str, text: str, nodes: tuple[str, ...] = ()) -> Alert:
    return Alert("survives", "info", name, f"training {name}: {text}", "", nodes)


def _of_relays(facts: Facts) -> Iterator[Alert]:
    """A relay that has no second one beside it, and sites that are reached through it alone."""
    relays = {known.addresses["relay"]: known for known in network.admitted(facts.world) if "relay" in known.addresses}
    if len(relays) != 1:
        return
    ((address, sn),) = relays.items()
    alive = {known.uid for known in network.nodes(facts.world) if known.alive and not known.left}
    through = [uid for uid, at in fetch_addresses(facts.world).items() if at == displayed(address) and uid in alive]
    if through:
        names = node_names(facts.world)
        yield Alert(
            "survives",
            "info",
            name_of(names, sn.uid),
            f"{listed([name_of(names, uid) for uid in through])} cannot be reached when SN {name_of(names, sn.uid)} "
            "fails, the only relay",
            "start another SN with --sn-relay-port",
            (sn.uid,),
        )
