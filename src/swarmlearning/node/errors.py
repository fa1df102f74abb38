"""Why a node stops."""


class NodeError(Exception):
    """The node cannot start or go on; the message says what, where and what to do."""
