"""An SN's port for newcomers over real connections: it opens and closes with invitations, and lets their holders in."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from support.agent import TrustDomain
from support.certs import authority_in
from support.local_sn import fetch, member
from support.newcomers import HOUR_MS, Host, ask, hosting, request_for
from support.tools import needs
from swarmlearning.address import split
from swarmlearning.backoff import Backoff
from swarmlearning.identity.ca import KeyPair, certify, create_authority, issue
from swarmlearning.identity.certificates import load_certificate, to_pem
from swarmlearning.identity.identity import Bundle, Identity
from swarmlearning.identity.onetime import new_key, sign
from swarmlearning.identity.source import Latest
from swarmlearning.identity.workspace import Workspace
from swarmlearning.invitations import serving
from swarmlearning.invitations.client import RefusedError, contact
from swarmlearning.invitations.code import JoinCode
from swarmlearning.invitations.serving import MOST_BYTES
from swarmlearning.ledger.bodies import Anchor, Certify, RequestAdmission, RequestCertificate, Sign, WithdrawInvitation
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.inviting import statement
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.organisations import of_bundle
from swarmlearning.rates import Rate
from swarmlearning.sn import clocks, joinport

Identities = dict[str, Identity]


@pytest_asyncio.fixture
async def host(tmp_path: Path, identities: Identities) -> AsyncIterator[Host]:
    async with hosting(tmp_path / "sn", identities["SN-1"], identities["SWCI-1"]) as made:
        yield made


def signed(code: JoinCode, body: RequestCertificate, by: bytes = b"") -> bytes:
    """A request as it is sent."""
    signature = sign(by or code.key, statement(code.network_id, body))
    return canonical(msgspec.structs.replace(body, signature=signature))


async def test_the_port_is_open_while_somebody_is_invited_and_a_node_joins_through_it(
    host: Host, workspace: Path, tmp_path: Path, identities: Identities
) -> None:
    assert not await host.accepts()
    code = await host.invite()
    await host.until(is_open=True)
    key, wanted = request_for(code)
    async with contact(code) as client:
        assert (await client.standing()).state == "open"
        assert (await client.request(wanted)).state == "waiting"
        later = asyncio.ensure_future(client.standing(wait=20))
        issued = certify(authority_in(workspace), key.public_key(), "SL-new", [], ["127.0.0.1"], 30)
        await host.operator.send(Certify(wanted.key, to_pem(issued)))
        found = await later
    assert (found.state, found.certificate, found.api) == ("issued", to_pem(issued), host.api)
    assert [load_certificate(each) for each in found.authorities] == [authority_in(workspace).certificate]
    assert await host.accepts(), "until it has registered, it may have to fetch its certificate again"
    place = Workspace(tmp_path / "new")
    place.save_node("SL-new", KeyPair(issued, key))
    place.trust(load_certificate(found.authorities[0]))
    async with member(host.api, place.identity("SL-new"), "sl-9") as joined:
        await joined.register()
    await host.until(is_open=False)


async def test_it_closes_when_the_last_invitation_is_withdrawn_or_expires(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await host.invite(), await host.invite("", "hospital-c")
    await host.until(is_open=True)
    async with contact(first) as client:
        await host.operator.send(WithdrawInvitation(client.key))
        assert (await client.standing()).state == "withdrawn"
        with pytest.raises(RefusedError, match="the invitation is withdrawn; ask for another one"):
            await client.request(request_for(first)[1])
        async with contact(second) as other:
            await host.operator.send(WithdrawInvitation(other.key))
    await host.until(is_open=False)
    monkeypatch.setattr(joinport, "AGAIN_SECONDS", 0.05)
    await host.invite()
    await host.until(is_open=True)
    monkeypatch.setattr(clocks, "clock_ms", lambda: clock_ms() + 2 * HOUR_MS)
    await host.until(is_open=False)


FEW = Rate(1, 15 * 3600, 3600)
"""One an hour, and some fifteen at once: however slow the test is, more are too many."""


async def test_a_stranger_is_told_nothing_and_cannot_keep_out_who_is_invited(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "STRANGERS", FEW)
    code = await host.invite()
    await host.until(is_open=True)
    unknown = msgspec.structs.replace(code, key=new_key())
    elsewhere = msgspec.structs.replace(code, network=bytes(32))
    answers = {
        await ask(host.join),
        await ask(host.join, code=unknown),
        await ask(host.join, code=elsewhere),
        await ask(host.join, "/block"),
        await ask(host.join, "/../openapi.json", code=unknown),
        await ask(host.join, method="POST", data=signed(code, request_for(code)[1])),
        await ask(host.join, method="POST", data=b"x" * (MOST_BYTES + 1)),
    }
    assert {status for status, _ in answers} == {401}
    assert {body for _, body in answers} == {
        '{"code": "no-invitation", "detail": "this port is for those who have an invitation to this network"}'
    }
    statuses = [(await ask(host.join))[0] for _ in range(15)]
    assert statuses[-1] == 429, "so many requests without a key are refused"
    status, body = await ask(host.join, code=code)
    assert (status, json.loads(body)["state"]) == (200, "open")
    assert (await ask(host.join, "/block", code=code))[0] == 200


async def test_a_holder_is_shown_its_own_invitation_and_requests_at_a_bounded_rate(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HOLDERS", FEW)
    code = await host.invite()
    await host.until(is_open=True)
    for path in ("/blocks/0", "s", "/block/1"):
        assert (await ask(host.join, path, code=code))[0] == 404
    assert (await ask(host.join, "?wait=1000", code=code))[0] == 422
    assert (await ask(host.join, method="POST", data=b"{}", code=code))[0] == 400
    assert (await ask(host.join, method="POST", data=b"x" * (MOST_BYTES + 1), code=code))[0] == 413
    statuses = [(await ask(host.join, code=code))[0] for _ in range(15)]
    assert (statuses[0], statuses[-1]) == (200, 429)


async def test_nobody_can_alter_a_request_use_another_s_or_use_one_twice(host: Host) -> None:
    code, other = await host.invite(), await host.invite("SL-other")
    await host.until(is_open=True)
    (_, mine), (_, second) = request_for(code), request_for(code)
    whole, of_an_sn = signed(code, mine), signed(code, request_for(code, "SN-1")[1])
    altered = msgspec.json.encode({**msgspec.json.decode(whole), "request": second.request})
    refused = {
        "bad-signature": await ask(host.join, method="POST", data=altered, code=code),
        "no-invitation": await ask(host.join, method="POST", data=whole, code=other),
        "bad-certificate": await ask(host.join, method="POST", data=of_an_sn, code=code),
    }
    assert {wanted: (status, json.loads(body)["code"]) for wanted, (status, body) in refused.items()} == {
        wanted: (409, wanted) for wanted in refused
    }
    first = await ask(host.join, method="POST", data=whole, code=code)
    assert first == await ask(host.join, method="POST", data=whole, code=code), "whoever lost the answer asks again"
    assert json.loads(first[1])["state"] == "waiting"
    status, body = await ask(host.join, method="POST", data=signed(code, second), code=code)
    assert (status, json.loads(body)["detail"]) == (409, "the invitation is used; ask for another one")


async def test_idle_connections_and_endless_heads_keep_nobody_out(host: Host, identities: Identities) -> None:
    code = await host.invite()
    await host.until(is_open=True)
    where = split(host.join)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def connected() -> socket.socket:
        return socket.create_connection(where, source_address=("127.0.0.2", 0))

    def silent() -> list[socket.socket]:
        return [connected() for _ in range(400)]

    def shaken() -> list[socket.socket]:
        made: list[socket.socket] = []
        for _ in range(100):
            try:
                made.append(context.wrap_socket(connected()))
                made[-1].sendall(b"GET /join HTTP/1.1\r\nx: ")
            except OSError:
                pass  # it is dropped, as it should be
        return made

    crowd = [*await asyncio.to_thread(silent), *await asyncio.to_thread(shaken)]
    try:
        async with contact(code) as client:
            assert (await client.standing()).state == "open"
        assert (await fetch(host.api, identities["SL-1"], "/health"))[0] == 200
    finally:
        for each in crowd:
            each.close()


async def test_the_port_shows_the_certificate_that_the_sn_has_by_now(
    tmp_path: Path, workspace: Path, identities: Identities
) -> None:
    source = Latest(identities["SN-1"])
    async with hosting(tmp_path / "sn", identities["SN-1"], identities["SWCI-1"], source=source) as host:
        code = await host.invite()
        await host.until(is_open=True)
        place = Workspace(tmp_path / "renewed")
        place.trust(authority_in(workspace).certificate)
        place.save_node("SN-1", issue(authority_in(workspace), "SN-1", [], ["127.0.0.1"], 30))
        renewed = place.identity("SN-1")
        source.replace(renewed)
        async for _ in Backoff(0.02, 0.1):
            if await asyncio.to_thread(ssl.get_server_certificate, split(host.join)) == to_pem(renewed.certificate):
                break
        async with contact(code) as client:
            assert (await client.standing()).state == "open"


@needs("ipv6")
async def test_an_organisation_that_is_a_trust_domain_joins_by_ipv6_through_an_sn_with_a_spiffe_identity(
    tmp_path: Path,
) -> None:
    own, new = TrustDomain("org1.example"), TrustDomain("org2.example")
    sn, operator = (own.identity(own.issue(path)) for path in ("sn", "swci"))
    async with hosting(tmp_path / "sn", sn, operator, host="::1") as host:
        code = await host.invite("", "org-2")
        assert code.addresses[0].startswith("[::1]:")
        await host.until(is_open=True)
        anchors = of_bundle(Bundle("org2.example", tuple(each.certificate for each in new.roots)))
        async with contact(code) as client:
            found = await client.request(RequestAdmission(client.key, "Second", anchors, ""))
            assert found.state == "proposed"
            assert found.proposal is not None
            assert (found.proposal.signed, found.proposal.missing) == ((), ("org1-example",))
            await host.operator.send(Sign(found.proposal.number))
            assert (await client.standing()).state == "admitted"
        known = network.organisations((await host.operator.catch_up()).world)
        assert [each.id for each in known] == ["org-2", "org1-example"]


async def test_a_name_that_a_reverse_proxy_knows_is_announced_in_place_of_the_address(
    tmp_path: Path, identities: Identities
) -> None:
    service = "join.north.example:443"
    async with hosting(tmp_path / "sn", identities["SN-1"], identities["SWCI-1"], service=service) as host:
        assert (await host.invite()).addresses == (service,)


async def test_anchors_of_an_organisation_have_to_be_authorities(host: Host) -> None:
    code = await host.invite("", "hospital-c")
    await host.until(is_open=True)
    leaf = certify(create_authority("CA-9", 30), create_authority("x", 30).key.public_key(), "SL-1", [], [], 30)
    async with contact(code) as client:
        with pytest.raises(RefusedError):
            await client.request(RequestAdmission(client.key, "C", (Anchor(to_pem(leaf)),), ""))
        good = Anchor(to_pem(create_authority("CA-9", 30).certificate))
        assert (await client.request(RequestAdmission(client.key, "C", (good,), ""))).state == "proposed"
