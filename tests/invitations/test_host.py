"""What a newcomer accepts of an SN that is another organisation's: neither its certificates nor to be kept busy."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from starlette.types import Send

from support.certs import authority_in, stranger
from swarmlearning.api.middleware import send_json
from swarmlearning.cli import join as joining
from swarmlearning.errors import UserError
from swarmlearning.identity.ca import KeyPair, certify
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.requests import read_request
from swarmlearning.identity.tls import greeting_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.invitations import host
from swarmlearning.invitations.code import JoinCode
from swarmlearning.invitations.standing import Standing, read_standing

from .test_client import STANDING, code_for, false_sn

Identities = dict[str, Identity]


def issued(by: KeyPair, request: str, *authorities: KeyPair) -> Standing:
    """What an SN answers with a certificate by this authority."""
    certificate = certify(by, read_request(request.encode()).key, "SL-new", [], ["10.0.0.7"], 30)
    shown = tuple(to_pem(each.certificate) for each in authorities)
    return Standing("issued", "", to_pem(certificate), shown, "10.0.0.1:30304")


def test_an_sn_of_another_organisation_cannot_make_a_newcomer_a_node_of_its_own(
    tmp_path: Path, identities: Identities, workspace: Path
) -> None:
    """The key of a request is on the ledger, so whoever has an authority that the newcomer accepts can certify it."""
    own = authority_in(workspace)
    stranger(tmp_path, "SN-9")
    foreign = authority_in(tmp_path / "stranger")
    named = tuple(bytes.fromhex(thumbprint(each.certificate)) for each in (own, foreign))
    code = JoinCode(bytes(32), bytes(32), "ca-1", "SL-new", 2**31, ("10.0.0.1:1",), named, 1)
    place = Workspace(tmp_path / "new")
    request = host.own_request(place, "SL-new", [], [])
    with pytest.raises(UserError, match="cannot be used for SL-new"):
        host.install(place, code, issued(foreign, request, own, foreign))
    assert not place.certificate("SL-new").exists()
    assert not place.capath.exists(), "nothing of what it has sent is trusted then"
    host.install(place, code, issued(own, request, own, foreign))
    assert place.identity("SL-new").subject == "CN=SL-new,OU=Swarm-Learning"


async def test_an_sn_that_answers_at_once_that_nothing_has_changed_keeps_no_newcomer_busy(
    identities: Identities, workspace: Path
) -> None:
    waiting, counted = {**STANDING, "state": "waiting"}, Counter[str]()

    async def answer(send: Send) -> None:
        counted["asked"] += 1
        await send_json(send, 200, json.dumps(waiting).encode())

    async with false_sn(greeting_context(identities["SN-1"]), standing=answer) as address:
        code = code_for(address, workspace=workspace)
        standing = read_standing(json.dumps(waiting).encode())
        async with asyncio.timeout(120):
            assert (await joining._until_issued(code, standing, 2)).state == "waiting"
    assert counted["asked"] in (1, 2)
