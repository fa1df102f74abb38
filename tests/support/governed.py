"""A ledger of three organisations with an operator each, for tests of policies and proposals."""

from support.network import Ledger, organisation
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger.bodies import AdmitOrganisation, Body
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Proposal

NETWORK = network.CONTRACT
AUTHORITIES = {f"org-{number}": create_authority(f"CA-{number}", 3650) for number in (1, 2, 3)}
SPARE = create_authority("CA-9", 3650)
OPERATORS = {"org-1": "op-1", "org-2": "op-2", "org-3": "op-3"}


def three() -> Ledger:
    """Three organisations, each with an operator; the SNs are the first one's, and each has an SL."""
    made = Ledger(AUTHORITIES["org-1"])
    for number, (name, authority) in enumerate(AUTHORITIES.items(), 1):
        if number > 1:
            for signing in range(1, number):
                if name not in [each.id for each in network.organisations(made.chain.world)]:
                    made.send(f"op-{signing}", AdmitOrganisation(organisation(name, authority)), NETWORK)
        made.join(f"op-{number}", "SWCI", authority)
        made.join(f"sl-{number}", "SL", authority)
    made.join("sn-2", "SN", AUTHORITIES["org-2"])
    return made


def newest(ledger: Ledger) -> Proposal:
    """The newest proposal."""
    return network.proposals(ledger.chain.world)[-1]


def active(ledger: Ledger) -> list[str]:
    """IDs of the organisations that take part."""
    return [each.id for each in network.organisations(ledger.chain.world)]


def send(ledger: Ledger, uid: str, body: Body) -> None:
    """One transaction to the network contract. Raises `Rejection`."""
    ledger.send(uid, body, NETWORK)
