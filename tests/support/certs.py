"""Identities for tests, made by the development CA. All files lie in the folder given (a test's `tmp_path`)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace

DAYS = 90


def make_workspace(
    directory: Path, nodes: Sequence[str], authority: KeyPair | None = None, ca_name: str = "CA-1"
) -> dict[str, Identity]:
    """A certificate for each of `nodes` by the CA given, else by the one there, else by a new one.

    Returns their identities, by name.
    """
    workspace = Workspace(directory)
    if authority is None and workspace.authority_key(ca_name).exists():
        authority = workspace.load_authority(ca_name)
    authority = authority or create_authority(ca_name, DAYS)
    workspace.save_authority(ca_name, authority)
    for node in nodes:
        workspace.save_node(node, issue(authority, node, [], ["127.0.0.1"], DAYS))
    return {node: workspace.identity(node) for node in nodes}


def authority_in(directory: Path, ca_name: str = "CA-1") -> KeyPair:
    """The CA that `make_workspace` has put there."""
    return Workspace(directory).load_authority(ca_name)


def stranger(directory: Path, node: str) -> Identity:
    """An identity of that name from a CA of the same name that nobody else knows."""
    return make_workspace(directory / "stranger", [node])[node]


def expired(directory: Path, node: str) -> Identity:
    """An identity of the CA in `directory` that ended yesterday; `Identity.load` would refuse it."""
    return _valid_from(directory, node, timedelta(days=-10), days=9)


def not_yet_valid(directory: Path, node: str) -> Identity:
    """An identity of the CA in `directory` that begins tomorrow; `Identity.load` would refuse it."""
    return _valid_from(directory, node, timedelta(days=1), days=9)


def _valid_from(directory: Path, node: str, begin: timedelta, days: int) -> Identity:
    workspace = Workspace(directory)
    authority = authority_in(directory)
    pair = issue(authority, node, [], ["127.0.0.1"], days, datetime.now(UTC) + begin)
    workspace.save_node(node, pair)
    return Identity(
        chain=(pair.certificate,),
        anchors=(authority.certificate,),
        cert_path=workspace.certificate(node),
        key_path=workspace.key(node),
    )
