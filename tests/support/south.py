"""A ledger on which a second organisation, `south`, takes part, and the three acts that shut its nodes out."""

from support.network import Ledger, anchor
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    Body,
    NewOrganisation,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
)
from swarmlearning.ledger.contracts import network

ACTS = ("node", "authority", "organisation")
OPERATING = create_authority("CA-2", 3650)
"""Issues for the operator of `south`."""
WORKING = create_authority("CA-3", 3650)
"""Issues for its nodes."""


class South:
    """The operator of `south` is `op-2`; its nodes join by `join`."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.ledger.join("op-1", "SWCI")
        both = NewOrganisation("south", "South", (anchor(OPERATING), anchor(WORKING)))
        self.ledger.send("op-1", AdmitOrganisation(both), network.CONTRACT)
        self.ledger.join("op-2", "SWCI", OPERATING)

    def shut_out(self, what: str, uid: str) -> None:
        """Its operator revokes the certificate of a node, or retires the authority or the organisation behind it."""
        revoked = Revoke(thumbprint(self.ledger.actors[uid].pair.certificate))
        retired = RetireAuthority(thumbprint(WORKING.certificate))
        acts: dict[str, Body] = {"node": revoked, "authority": retired, "organisation": RetireOrganisation("south")}
        self.ledger.send("op-2", acts[what], network.CONTRACT)
