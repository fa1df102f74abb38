"""Only operators of SWCI's own organisation use its web mode."""

import asyncio
import ssl
from dataclasses import replace

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from support.certs import authority_in
from support.operations import listening
from support.webmode import WebMode
from swarmlearning.identity.ca import issue
from swarmlearning.identity.certificates import load_certificate, thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, peer_certificate
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


async def test_a_web_mode_that_gets_another_certificate_serves_by_it(
    web: WebMode, identities: dict[str, Identity]
) -> None:
    old = identities["SWCI-1"]
    pair = issue(authority_in(old.cert_path.parent), "SWCI-1", [], ["127.0.0.1"], 9)
    web.source.replace(replace(old, chain=(pair.certificate,), private_key=pair.key))
    await asyncio.sleep(0)  # whoever waits for that is woken
    tls = client_context(web.operator)
    _, writer = await asyncio.open_connection("127.0.0.1", web.port, ssl=tls)
    assert peer_certificate(writer.get_extra_info("ssl_object")) == pair.certificate
    writer.close()
    assert await web.execute("LIST CONTEXTS") == ["c"]


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
