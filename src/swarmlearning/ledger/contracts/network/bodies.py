"""The bodies of transactions of the network contract."""

from swarmlearning.ledger.fields import Body, Count, Digest, Name, NodeType, Pem, Positive, Uid


class Genesis(Body, frozen=True):
    """Founds a network; the only transaction of block 0."""

    network_name: Name
    founder_name: Name
    authorities: tuple[Pem, ...]
    certificate: Pem
    version: Name
    rules_version: int
    created_ms: Count


class Register(Body, frozen=True):
    """A node starts: it states its certificate and raises its incarnation.

    `certificate` is empty when the signing certificate is on the chain already.
    """

    node_type: NodeType
    name: Name
    certificate: Pem
    version: Name


class Announce(Body, frozen=True):
    """The addresses of a node: service (`api`, `p2p`, `fs`) to `host:port`."""

    addresses: dict[Name, Name]


class AddAuthority(Body, frozen=True):
    """Trust one more certificate authority from this height on."""

    certificate: Pem


class RetireAuthority(Body, frozen=True):
    """Stop trusting an authority from this height on; its earlier certificates stay valid in history."""

    thumbprint: Digest


class Revoke(Body, frozen=True):
    """Stop trusting one node certificate from this height on."""

    thumbprint: Digest


class SwitchRules(Body, frozen=True):
    """From the next block on the given version of the rules, the next one, holds; nodes that do not know it stop."""

    rules_version: Positive


class Leave(Body, frozen=True):
    """The sender leaves the network for good; registering again brings it back."""


class Recover(Body, frozen=True):
    """An operator has restarted the network from one SN: the others count as having left."""

    lost: tuple[Uid, ...]


class Lost(Body, frozen=True):
    """A node's lease is gone, or (reported by the node itself) its ML process is: it is not waited for."""

    uid: Uid
    incarnation: Positive


class Back(Body, frozen=True):
    """A lost node's lease is there again; it is waited for once it holds the latest model."""

    uid: Uid
    incarnation: Positive
