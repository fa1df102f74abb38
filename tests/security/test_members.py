"""A member of the network that attacks the others with all that its own authority's key allows, against a real SN."""

import json
from collections.abc import Callable

import pytest

from security.consortium import Consortium, powers, refusal
from support.local_sn import fetch
from support.network import session
from swarmlearning.api.client import Refusal
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.bodies import (
    AddAuthority,
    Anchor,
    Body,
    CreateContract,
    Register,
    Reset,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
    SetPolicy,
    SwitchRules,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts.network import authorities, node, proposals
from swarmlearning.ledger.contracts.training.state import state_of

OPEN = "defaultbb.cqdb.sml.hpe"


async def test_an_equal_subject_of_another_organisation_takes_over_no_node(consortium: Consortium) -> None:
    twin = consortium.forged("ca-2", "SL-1")
    own = {"incarnation": 1, "steps": 0, "moved": 0}
    async with consortium.members("SL-1") as [honest]:
        beats = f"/presence/{honest.uid}"
        assert (await fetch(consortium.address, honest.identity, beats, method="PUT", json=own))[0] == 204
        for incarnation in (1, 2, 1001, 2**31 - 1):
            async with consortium.attacker(twin, uid=honest.uid, incarnation=incarnation) as thief:
                pem = to_pem(twin.certificate)
                assert (await refusal(thief, Register("SL", "SL-1", pem, "0"))).code == "other-subject"
                beat = {"incarnation": incarnation, "steps": 0, "moved": 0}
                status, _, _ = await fetch(consortium.address, twin, beats, method="PUT", json=beat)
                assert status == 403
        async with consortium.attacker(twin) as neighbour:
            await neighbour.register()  # it works under a UID of its own: the certificate itself is sound
        async with consortium.attacker(consortium.identities["SL-1"], uid=honest.uid, incarnation=2) as again:
            await again.register()
            known = node((await again.catch_up()).world, honest.uid)
            assert known is not None
            assert (known.organisation, known.incarnation) == ("ca-1", 2)


async def test_a_node_cannot_use_up_its_incarnations_in_one_step(consortium: Consortium) -> None:
    async with consortium.members("SL-1") as [honest]:
        own = consortium.identities["SL-1"]
        async with consortium.attacker(own, uid=honest.uid, incarnation=2**31 - 1) as jump:
            await refusal(jump, Register("SL", "SL-1", to_pem(own.certificate), "0"))


ACTS: dict[str, Callable[[Consortium], Body]] = {
    "revoke": lambda all: Revoke(thumbprint(all.identities["SL-1"].certificate)),
    "retire": lambda all: RetireOrganisation("ca-2"),
    "add an authority": lambda all: AddAuthority("ca-1", Anchor(to_pem(all.forged("ca-3", "CA-9").certificate))),
    "switch rules": lambda all: SwitchRules(RULES_VERSION + 1),
    "switch rules far": lambda all: SwitchRules(2**31 - 1),
    "reset": lambda all: Reset(forced=True),
    "admit by itself": lambda all: SetPolicy("admit-organisation", "one"),
    "lock the others out": lambda all: SetPolicy("create-contract", "all"),
}


@pytest.mark.parametrize("act", ACTS)
async def test_one_organisation_alone_changes_nothing_for_the_others(act: str, consortium: Consortium) -> None:
    body = ACTS[act](consortium)
    async with consortium.members("OPERATOR-3", "SL-1", "SL-2") as [attacker, *sites]:
        for site in sites:
            await site.send(session(), OPEN)
        before = await attacker.catch_up()
        try:
            await attacker.send(body, OPEN if isinstance(body, Reset) else "network")
        except Refusal:
            pass  # as well as a proposal that waits for the others
        after = await attacker.catch_up()
        assert powers(after) == powers(before)
        assert state_of(after.world, OPEN).run == state_of(before.world, OPEN).run
        assert all(each.signed == ("ca-3",) and each.state == "open" for each in proposals(after.world))
        for site in sites:
            await site.client.status()


async def test_the_quorum_that_one_organisation_lacks_is_enough_when_another_one_signs(consortium: Consortium) -> None:
    """Without this, the test above would pass where nothing works at all."""
    async with consortium.members("OPERATOR-3", "OPERATOR-2", "SL-1") as [third, second, site]:
        body = Revoke(thumbprint(consortium.identities["SL-1"].certificate))
        await third.send(body)
        await second.send(body)
        assert powers(await third.catch_up())["shut out"]
        status, _, text = await fetch(consortium.address, site.identity, "/status")
        assert (status, json.loads(text)["code"]) == (403, "not-allowed")


async def test_a_node_of_no_member_joins_no_contract_and_squats_no_name(consortium: Consortium) -> None:
    async with consortium.members("OPERATOR-1", "SL-1", "SL-2", "SL-3") as [operator, first, second, outsider]:
        assert (await refusal(outsider, session(), "scans")).code == "no-contract"
        await operator.send(CreateContract(members=("ca-1", "ca-2")), "scans")
        assert (await refusal(outsider, session(), "scans")).code == "not-invited"
        assert (await refusal(operator, CreateContract(), "scans")).code == "created-already"
        for site in (first, second):
            await site.send(session(), "scans")
        assert state_of((await first.catch_up()).world, "scans").round is not None


async def test_many_nodes_of_one_certificate_are_one_organisation_in_a_round(consortium: Consortium) -> None:
    sybil = consortium.identities["SL-3"]
    members = ("ca-1", "ca-2", "ca-3")
    async with consortium.members("OPERATOR-1", "SL-1", "SL-3") as [operator, honest, one]:
        await operator.send(CreateContract(members=members), "scans")
        await one.send(session(), "scans")
        async with consortium.attacker(sybil) as two, consortium.attacker(sybil) as three:
            for each in (two, three):
                await each.register()
                await each.send(session(), "scans")
            assert state_of((await one.catch_up()).world, "scans").round is None, "three nodes are one organisation"
        await honest.send(session(), "scans")
        assert state_of((await one.catch_up()).world, "scans").round is not None


async def test_authorities_vouch_for_no_identity_of_another_organisation(consortium: Consortium) -> None:
    async with consortium.members("OPERATOR-3") as [attacker]:
        world = (await attacker.catch_up()).world
        other = next(each for each in authorities(world) if each.organisation == "ca-1")
        for body in (AddAuthority("ca-3", Anchor(other.pem)), RetireAuthority(other.thumbprint)):
            before = powers(await attacker.catch_up())
            try:
                await attacker.send(body)
            except Refusal:
                pass  # as well as a proposal that waits for the others
            assert powers(await attacker.catch_up()) == before
