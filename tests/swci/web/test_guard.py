"""Only operators of SWCI's own organisation use its web mode."""

import ssl

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from support.operations import listening
from support.webmode import WebMode
from swarmlearning.identity.certificates import load_certificate, thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.bodies import Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.swci.web.guard import fault_of
from swarmlearning.transport.parties import Credential


async def test_an_operator_of_the_own_organisation_is_served(web: WebMode) -> None:
    assert await web.execute("LIST CONTEXTS") == ["c"]


async def test_a_node_of_the_own_organisation_is_refused(web: WebMode, identities: dict[str, Identity]) -> None:
    status, answer = await web.ask("POST", "/exec?cmd=PWD", identities["SN-1"])
    assert (status, answer["detail"]) == (
        403,
        "the web mode is for operators (OPERATOR, SWCI, UI); this certificate is for SN",
    )


async def test_an_operator_of_another_organisation_is_refused_by_tls(
    web: WebMode, identities: dict[str, Identity]
) -> None:
    """Although SWCI's own `--capath` has that organisation's authority."""
    assert len(identities["SWCI-1"].anchors) == 2
    with pytest.raises(aiohttp.ClientError):
        await web.ask("POST", "/exec?cmd=PWD", identities["SWCI-9"])


async def test_a_client_without_certificate_is_refused_by_tls(web: WebMode, identities: dict[str, Identity]) -> None:
    tls = ssl.create_default_context(cafile=str(next(identities["UI-1"].cert_path.parent.glob("ca/capath/ca-1-*"))))
    tls.check_hostname = False
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.post(f"https://127.0.0.1:{web.port}/exec?cmd=PWD")


def test_an_operator_whose_certificate_is_revoked_in_a_network_in_use_is_refused() -> None:
    operations = listening()
    certificate = load_certificate(operations.ledger.actors["mate"].pem)
    credential = Credential(certificate.public_bytes(Encoding.DER), thumbprint(certificate), "")
    assert fault_of(credential, [operations.ledger.chain]) == ""
    operations.send("op-1", Revoke(thumbprint(certificate)), network.CONTRACT)
    assert "revoked" in fault_of(credential, [operations.ledger.chain])
