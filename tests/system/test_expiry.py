"""Warnings of nodes about their own certificates and keys."""

from support.certs import authority_in
from support.swarm import Swarm
from swarmlearning.identity.ca import issue
from swarmlearning.identity.workspace import Workspace


def test_nodes_warn_at_start_of_a_certificate_that_expires_soon_and_of_a_key_that_others_can_read(swarm: Swarm) -> None:
    folder = swarm.identities["SN-1"].cert_path.parent
    authority, workspace = authority_in(folder), Workspace(swarm.directory / "short")
    workspace.save_authority("CA-1", authority)
    for node in ("SN-1", "SL-1"):
        workspace.save_node(node, issue(authority, node, [], ["127.0.0.1"], days=1))
        workspace.key(node).chmod(0o644)
        swarm.identities[node] = workspace.identity(node)
    sn = swarm.start_sn()
    sl = swarm.start_sl(1)
    assert sl.ready
    sl.stop()
    sn.stop()
    for node, process in (("SN-1", sn), ("SL-1", sl)):
        assert f"WARNING : The certificate of this node, 'CN={node},OU=Swarm-Learning' in " in process.output
        assert "expires in 23 hours (" in process.output
        assert f"The private key {workspace.key(node)} can be used by other users" in process.output
