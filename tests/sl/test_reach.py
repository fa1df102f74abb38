"""The address on which a file server listens, and the check that its announced address leads back to it."""

import asyncio
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from support.ports import fixed_port
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.sl.reach import fault_of_own_address

Identities = dict[str, Identity]


def der(identity: Identity) -> bytes:
    return identity.certificate.public_bytes(Encoding.DER)


async def test_a_node_knows_itself_at_its_announced_address(identities: Identities, tmp_path: Path) -> None:
    own, other = identities["SL-1"], identities["SL-2"]
    app = file_app(TensorStore(tmp_path / "store"), lambda thumbprint, digest: False)
    server = Server(app, server_context(own), "127.0.0.1", 0)
    await server.start()
    address = f"127.0.0.1:{server.port}"
    assert await asyncio.to_thread(fault_of_own_address, address, client_context(own), der(own)) == ""
    fault = await asyncio.to_thread(fault_of_own_address, address, client_context(other), der(other))
    assert fault == "another node answers there, with another certificate"
    await server.stop()
    closed = f"127.0.0.1:{fixed_port()}"
    fault = await asyncio.to_thread(fault_of_own_address, closed, client_context(own), der(own))
    assert fault == "refuses connections: nothing listens on that port"
    fault = await asyncio.to_thread(fault_of_own_address, "no-such.invalid:1", client_context(own), der(own))
    assert fault == "is not a known host name"
