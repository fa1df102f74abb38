"""A ledger with three organisations."""

from support.network import Ledger, organisation
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger.bodies import AdmitOrganisation
from swarmlearning.ledger.contracts import network

AUTHORITIES = {f"org-{number}": create_authority(f"CA-{number}", 3650) for number in (1, 2, 3)}


def three_organisations() -> Ledger:
    """Three organisations, each with an operator and an SL."""
    made = Ledger(AUTHORITIES["org-1"])
    made.join("op-1", "SWCI")
    for signing, name in ((("op-1",), "org-2"), (("op-1", "op-2"), "org-3")):
        for operator in signing:
            made.send(operator, AdmitOrganisation(organisation(name, AUTHORITIES[name])), network.CONTRACT)
        made.join(f"op-{name[-1]}", "SWCI", AUTHORITIES[name])
    for number, authority in enumerate(AUTHORITIES.values(), 1):
        made.join(f"sl-{number}", "SL", authority)
    return made
