"""The network contract: authorities, certificates, nodes and their incarnations.

A node is a UID, bound at its first registration to an identity: a certificate subject under one authority. A renewed
certificate of that subject by that authority, with whatever key, is the same node; one by another authority never is.
Several nodes may share one certificate, so a certificate is never the node. Each start of a process registers with a
higher incarnation; from then on the older process of that UID is a zombie whose transactions are refused.

An SN that has sealed a void block is in *quarantine*: its state or its program is not that of the others. It seals no
more, votes no more and is not believed, until it is started again and registers anew through another SN.

Entries of the world: `network`, `authority/<thumbprint>`, `certificate/<thumbprint>`, `node/<uid>`, `window/<uid>`,
`quarantine/<uid>`, `recovery/<height>`. This page has the names that readers need; handlers are in the modules beside.
"""

from swarmlearning.ledger.contracts.network.replay import is_used
from swarmlearning.ledger.contracts.network.state import (
    CONTRACT,
    Authority,
    Certificate,
    Network,
    Node,
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
    quarantine,
    recoveries,
    sn_addresses,
    watched,
)

__all__ = [
    "CONTRACT",
    "Authority",
    "Certificate",
    "Network",
    "Node",
    "Quarantine",
    "Recovery",
    "Window",
    "admits",
    "admitted",
    "authorities",
    "certificate",
    "departed",
    "is_used",
    "last_height",
    "last_sequence",
    "network",
    "node",
    "nodes",
    "quarantine",
    "recoveries",
    "sn_addresses",
    "watched",
]
