"""Errors that end a node."""

from swarmlearning.errors import UserError


class NodeError(UserError):
    """The node cannot start or go on; the message says what, where and what to do."""


class Superseded(NodeError):
    """The same node was started again elsewhere; `detail` is the SN's text."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}. If its data directory was copied: each node needs a --data-dir of its own")


class RefusedError(NodeError):
    """The network does not admit this node's certificate; `detail` is the text of the SN at `address`."""

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(
            f"SN {address} refuses this node: {detail}. With a new certificate by a CA that the network trusts it may "
            "register again; an operator sees the trusted ones with `swarm trust list`"
        )
