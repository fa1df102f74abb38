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
from swarmlearning.sl.reach import fault_of_loopback, fault_of_own_address

Identities = dict[str, Identity]


def der(identity: Identity) -> bytes:
    return identity.certificate.public_bytes(Encoding.DER)


async def test_a_node_knows_itself_at_its_announced_address(identities: Identities, tmp_path: Path) -> None:
    own, other = identities["SL-1"], identities["SL-2"]
    app = file_app(TensorStore(tmp_path / "store"), lambda thumbprint, digest, chunks: False)
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


async def test_a_file_server_is_asked_for_by_the_name_in_its_address(identities: Identities, tmp_path: Path) -> None:
    """A reverse proxy passes connections on by it."""
    asked: list[str | None] = []
    context = server_context(identities["SL-1"])
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    app = file_app(TensorStore(tmp_path / "store"), lambda thumbprint, digest, chunks: False)
    server = Server(app, context, "127.0.0.1", 0)
    await server.start()
    own = identities["SL-1"]
    for host in ("localhost", "127.0.0.1"):
        address = f"{host}:{server.port}"
        assert await asyncio.to_thread(fault_of_own_address, address, client_context(own), der(own)) == ""
    await server.stop()
    assert asked == ["localhost", None]


def test_a_loopback_address_is_a_fault_where_the_sn_is_on_another_machine() -> None:
    fault = fault_of_loopback("127.0.0.1:30305", "10.0.0.1:30304")
    assert fault == "on every other machine that is the machine itself, and the SN at 10.0.0.1:30304 is on another one"
    assert fault_of_loopback("[::1]:30305", "sn.example:30304")


def test_a_loopback_address_is_no_fault_on_a_single_machine_and_no_other_address_is_one() -> None:
    assert fault_of_loopback("127.0.0.1:30305", "localhost:30304") == ""
    assert fault_of_loopback("10.0.0.2:30305", "10.0.0.1:30304") == ""
    assert fault_of_loopback("10.0.0.2:30305", "127.0.0.1:30304") == ""
