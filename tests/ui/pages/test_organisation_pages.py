"""The page of organisations, over HTTP: proposals, invitations, certificates, policies, each act with its command."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from support.governed import AUTHORITIES, SPARE, active, newest, send, three
from support.ledgerui import LedgerUi, Visitor, ledger_ui
from support.network import Ledger
from swarmlearning.identity.ca import issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.onetime import public_half, sign
from swarmlearning.identity.requests import make_request
from swarmlearning.invitations.code import read_code
from swarmlearning.ledger.bodies import Announce, Invite, RequestCertificate, SetPolicy
from swarmlearning.ledger.contracts.network.inviting import statement
from swarmlearning.ledger.contracts.network.policies import quorum_of
from swarmlearning.ledger.contracts.network.state import invitation, node, organisation

KEY = bytes(range(32))


@pytest.fixture
def ledger() -> Ledger:
    made = three()
    send(made, "sn-1", Announce({"api": "10.0.0.1:30304", "join": "10.0.0.1:30307"}))
    return made


@pytest.fixture
async def ui(tmp_path: Path, ledger: Ledger) -> AsyncIterator[LedgerUi]:
    async with ledger_ui(tmp_path, ledger) as made:
        yield made


@pytest.fixture
async def admin(ui: LedgerUi) -> AsyncIterator[Visitor]:
    async with ui.visitor("admin") as made:
        yield made


@pytest.mark.parametrize("language", ["en", "de"])
async def test_the_page_is_there_for_everybody(ui: LedgerUi, ledger: Ledger, tmp_path: Path, language: str) -> None:
    send(ledger, "op-2", SetPolicy("create-contract", "majority"))
    async with ui.visitor("viewer", language) as viewer, ui.visitor("admin", language) as admin:
        assert "/organisations/sign" in await admin.page("/organisations")
        page = await viewer.page("/organisations")
        assert "/organisations/sign" not in page
        assert "CN=CA-2" in page
        assert (await viewer.data("/organisations.json"))["own"] == "org-1"
    async with ledger_ui(tmp_path / "empty", None) as empty, empty.visitor("admin", language) as admin:
        await admin.page("/organisations")


async def test_a_proposal_is_signed_or_rejected(admin: Visitor, ledger: Ledger) -> None:
    send(ledger, "op-2", SetPolicy("create-contract", "majority"))
    number = newest(ledger).number
    done = await admin.does("/organisations/reject", number=str(number))
    assert done["command"] == f"swarm proposal reject {number}"
    done = await admin.does("/organisations/sign", number=str(number))
    assert (done["kind"], done["command"]) == ("done", f"swarm proposal sign {number}")
    assert quorum_of(ledger.chain.world, "create-contract") == "majority"


async def test_an_act_that_others_have_to_agree_to_waits(admin: Visitor, ledger: Ledger) -> None:
    done = await admin.does("/organisations/policy", policy="create-contract", quorum="majority")
    assert (done["kind"], done["command"]) == ("waits", "swarm policy set create-contract majority")
    assert "org-2, org-3" in done["text"]
    done = await admin.does("/organisations/quota", organisation="org-2", quota="model_bytes", amount="1000")
    assert done["command"] == "swarm organisation quotas org-2 --model-bytes 1000"
    assert "is no quota" in await admin.fails("/organisations/quota", organisation="org-2", quota="x", amount="1")


async def test_a_code_is_shown_once(admin: Visitor, ledger: Ledger) -> None:
    done = await admin.does("/organisations/invite", node="SL-7", lasting="1d")
    assert done["command"] == "swarm invite --node SL-7 --expires 1d"
    code = read_code(done["secret"].removeprefix("swarm join "))
    assert (code.name, code.organisation) == ("SL-7", "org-1")
    made = invitation(ledger.chain.world, public_half(code.key))
    assert made is not None
    assert made.state == "open"
    assert done["secret"] not in await admin.page("/organisations")
    done = await admin.does("/organisations/withdraw", key=made.key)
    assert done["command"] == f"swarm invite withdraw {made.key}"
    assert "only nodes" in (await admin.fails("/organisations/invite", node="LICENSE-1")).lower()
    done = await admin.does("/organisations/invite-organisation", organisation="org-9", lasting="7d")
    assert read_code(done["secret"].removeprefix("swarm join ")).organisation == "org-9"


async def test_a_request_is_handed_to_the_office_and_its_certificate_to_the_node(
    admin: Visitor, ledger: Ledger
) -> None:
    send(ledger, "op-1", Invite(public_half(KEY), "org-1", ledger.chain.time_ms + 3_600_000, "SL", "SL-new"))
    pair = issue(AUTHORITIES["org-1"], "SL-new", [], [], 30)
    unsigned = RequestCertificate(public_half(KEY), make_request(pair.key, "SL-new", [], []), "")
    send(
        ledger,
        "sn-1",
        msgspec.structs.replace(unsigned, signature=sign(KEY, statement(ledger.chain.network_id, unsigned))),
    )
    key = public_half(KEY)
    page = await admin.page("/organisations")
    assert f"/organisations/requests/{key}" in page
    answer = await admin.get(f"/organisations/requests/{key}")
    assert answer.text.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert "attachment" in answer.headers["content-disposition"]
    assert (await admin.get(f"/organisations/requests/{'0' * 64}")).status_code == 404
    assert "no certificate in PEM form" in await admin.fails("/organisations/certify", key=key, certificate="x")
    await admin.does("/organisations/certify", key=key, certificate=to_pem(pair.certificate).replace("\n", "\r\n"))
    found = invitation(ledger.chain.world, key)
    assert found is not None
    assert found.certificate
    assert "No request" in await admin.fails("/organisations/certify", key=key, certificate=to_pem(pair.certificate))


async def test_own_nodes_are_revoked(admin: Visitor, ledger: Ledger) -> None:
    done = await admin.does("/organisations/revoke", node="sl-1")
    assert (done["kind"], done["command"]) == ("done", "swarm node revoke sl-1")
    revoked = node(ledger.chain.world, "sl-1")
    assert revoked is not None
    assert revoked.left
    assert "not in quarantine" in await admin.fails("/organisations/lift", node="sn-1")


async def test_organisations_and_authorities_come_and_go(admin: Visitor, ledger: Ledger) -> None:
    file = [("file", ("ca-9.pem", to_pem(SPARE.certificate).encode()))]
    done = await admin.does("/organisations/admit", files=file, organisation="org-4")
    assert (done["kind"], done["command"]) == ("waits", "swarm organisation admit org-4 ca-9.pem")
    done = await admin.does("/organisations/authority", files=file, organisation="org-1")
    assert (done["kind"], done["command"]) == ("waits", "swarm trust add ca-9.pem --organisation org-1")
    retired = thumbprint(AUTHORITIES["org-3"].certificate)
    done = await admin.does("/organisations/authority/retire", thumbprint=retired)
    assert (done["kind"], done["command"]) == ("waits", f"swarm trust retire {retired}")
    done = await admin.does("/organisations/retire", organisation="org-2")
    assert done["kind"] == "waits"
    assert active(ledger) == ["org-1", "org-2", "org-3"]
    for data in (b"\xff\xfe", b"x" * 70_000, b"no certificate"):
        wrong = [("file", ("ca.pem", data))]
        assert await admin.fails("/organisations/admit", files=wrong, organisation="org-4")
    assert organisation(ledger.chain.world, "org-4") is None


async def test_what_organisations_do_is_for_admins(ui: LedgerUi) -> None:
    paths = ("sign", "reject", "policy", "quota", "invite", "withdraw", "certify", "revoke", "admit", "retire", "lift")
    async with ui.visitor("operator") as operator:
        for path in paths:
            assert (await operator.post(f"/organisations/{path}", number="1")).status_code == 403
        assert (await operator.get(f"/organisations/requests/{'0' * 64}")).status_code == 403
