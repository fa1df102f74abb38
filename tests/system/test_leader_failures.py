"""A leader that dies while one of three SNs is gone already, whoever runs the SNs: the others merge without it."""

from collections.abc import Sequence

import pytest

from support.certs import make_workspace
from support.sns import Network
from support.swarm import Gate, assert_complete
from support.tools import needs
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger.bodies import Publish
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.watching import absence
from swarmlearning.ledger.contracts.training.state import Training

pytestmark = needs("etcd")

DEAD = 2
"""The SN that dies; the sentinel's death is measured by `make bench-failover`."""
HELD = ("--rounds", "2", "--min-peers", "2", "--hold-at", "0", "--hold-at", "1")


def share_out(net: Network, organisations: Sequence[int]) -> None:
    """Has the SN and SL of each number certified by the organisation of that number; founds the network."""
    place = net.identities["SN-1"].cert_path.parent
    for number in sorted(set(organisations) - {1}):
        places = [index for index, of in enumerate(organisations, 1) if of == number]
        names = [f"{kind}-{index}" for kind in ("SN", "SL") for index in places]
        ca = f"CA-{number}"
        net.identities |= make_workspace(place, names, create_authority(ca, days=90), ca)
    net.found(len(organisations))


def is_missed(uid: str, chain: Chain) -> bool:
    """The ledger records that an SN is gone: another one has stated it, or it counts no more."""
    sn = network.node(chain.world, uid)
    return sn is not None and (not sn.alive or absence(chain.world, sn).by not in ("", uid))


def led(state: Training) -> str:
    """UID of the leader of the round in progress."""
    assert state.round is not None
    return state.round.leader


@pytest.mark.parametrize(
    ("organisations", "at_once"),
    [((1, 1, 1), False), ((1, 1, 2), False), ((1, 2, 3), False), ((1, 2, 3), True)],
    ids=["3", "2+1", "1+1+1", "1+1+1, killed in one moment"],
)
def test_a_round_is_merged_without_its_leader_killed_while_an_sn_is_gone(
    organisations: tuple[int, ...], at_once: bool, net: Network, gate: Gate
) -> None:
    share_out(net, organisations)
    held = (*HELD, "--gate", str(gate.path))
    sites = [net.start_site(number, *held, at=number) for number in (1, 2, 3)]
    net.until(lambda state: len(state.members) == len(sites))
    gate.let(len(sites))
    training = net.until(lambda state: state.round is not None and state.round.number == 1 and bool(state.round.leader))
    leader = next(site for site in sites if site.ready["uid"] == led(training))
    dead = net.sns[DEAD].ready["uid"]
    net.sns[DEAD].kill()
    if not at_once:
        net.until_chain(lambda chain: is_missed(dead, chain))
    leader.kill()
    gate.let(len(sites))
    others = [site for site in sites if site is not leader]
    assert_complete(others)
    published = [tx.content.body for _, tx in net.transactions(1) if isinstance(tx.content.body, Publish)]
    (merged,) = [body for body in published if body.round == 1]
    assert sorted(part.uid for part in merged.receipt.contributions) == sorted(site.ready["uid"] for site in others)
