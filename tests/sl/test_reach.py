"""Where a file server listens, and whether its announced address leads back to it."""

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from support.ports import fixed_port
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.sl.reach import fault_of_own_address, listening_host

Identities = dict[str, Identity]

ELSEWHERE = "192.0.2.1"
"""Reserved for documentation: no machine has it."""


@pytest.mark.parametrize(
    ("host", "chosen", "listens"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("localhost", "", "localhost"),
        ("0.0.0.0", "", "0.0.0.0"),
        (ELSEWHERE, "", "0.0.0.0"),
        ("2001:db8::1", "", "::"),
        ("only-others-know.invalid", "", "0.0.0.0"),
        (ELSEWHERE, "127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_node_listens_on_its_announced_address_where_the_machine_has_it_and_else_on_all(
    host: str, chosen: str, listens: str
) -> None:
    assert listening_host(host, chosen) == listens


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
