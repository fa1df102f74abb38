"""The network contract: organisations, their authorities, certificates, nodes and their incarnations.

The organisation is the principal: it has authorities that issue certificates for some roles, and its operators act for
it (`policies.py` says what one may do alone and what needs others).

A node is a UID, bound at its first registration to an identity: a certificate subject under one organisation. Another
certificate of that subject by an authority of that organisation, with whatever key, is the same node; one of another
organisation never is. Several nodes may share one certificate, so a certificate is never the node. Each start of a
process registers with a higher incarnation; from then on the older process of that UID is a zombie whose transactions
are refused.

An SN that has sealed a void block is in *quarantine*: its state or its program is not that of the others; so is one
whose block was refused, since its time was far ahead, or that has sealed two blocks for one height. It seals no more,
votes no more and is not believed, until operators lift that (`LiftQuarantine`); nor may another SN of its identity be
registered until then.

Entries of the world: `network`, `organisation/<id>`, `authority/<thumbprint>`, `certificate/<thumbprint>`,
`revoked/<organisation>/<thumbprint>`, `node/<uid>`, `window/<uid>`, `quarantine/<uid>`, `refused/<uid>`,
`equivocation/<uid>`, `recovery/<height>`, `policy/<act>`, `proposal/<number>`, `invitation/<key>`,
`usage/<organisation>`. This page has the names that readers need; handlers are in the modules
beside.
"""

from swarmlearning.ledger.contracts.network.replay import is_used
from swarmlearning.ledger.contracts.network.state import (
    CONTRACT,
    Authority,
    Certificate,
    Network,
    Node,
    Offence,
    Organisation,
    Proposal,
    Quarantine,
    Recovery,
    Window,
    admits,
    admitted,
    authorities,
    certificate,
    departed,
    last_height,
    last_sequence,
    network,
    node,
    nodes,
    organisation,
    organisations,
    proposal,
    proposals,
    quarantine,
    quarantined,
    recoveries,
    sn_addresses,
    watched,
)
from swarmlearning.ledger.contracts.network.watching import (
    AHEAD_MS,
    DOUBT_MS,
    abstention,
    counting,
    counts,
    is_majority,
)

__all__ = [
    "AHEAD_MS",
    "CONTRACT",
    "DOUBT_MS",
    "Authority",
    "Certificate",
    "Network",
    "Node",
    "Offence",
    "Organisation",
    "Proposal",
    "Quarantine",
    "Recovery",
    "Window",
    "abstention",
    "admits",
    "admitted",
    "authorities",
    "certificate",
    "counting",
    "counts",
    "departed",
    "is_majority",
    "is_used",
    "last_height",
    "last_sequence",
    "network",
    "node",
    "nodes",
    "organisation",
    "organisations",
    "proposal",
    "proposals",
    "quarantine",
    "quarantined",
    "recoveries",
    "sn_addresses",
    "watched",
]
