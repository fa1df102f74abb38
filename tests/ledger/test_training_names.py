"""Who may create a contract under a name that there is, and what becomes of one whose organisations are retired."""

import pytest

from support.network import CONTRACT, Ledger, session
from support.organisations import three_organisations
from support.play import Play
from swarmlearning.ledger.bodies import Body, CreateContract, Reset, RetireOrganisation, SetPolicy, Sign
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Charter, state_of
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting_in

OWN = "study"


@pytest.fixture
def ledger() -> Ledger:
    return three_organisations()


def refused(ledger: Ledger, uid: str, body: Body, match: str, contract: str = OWN) -> None:
    with pytest.raises(Rejection, match=match):
        ledger.send(uid, body, contract)


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_session_under_the_default_contract_gives_nobody_its_name_for_good(ledger: Ledger) -> None:
    ledger.send("sl-3", session(min_peers=99), CONTRACT)
    refused(ledger, "op-1", CreateContract(members=("org-1",)), "created-already: .* reset it first", CONTRACT)
    for operator in ("op-1", "op-2"):
        ledger.send(operator, Reset(forced=True), CONTRACT)
    ledger.send("op-1", CreateContract(members=("org-1",)), CONTRACT)
    refused(ledger, "sl-3", session(), "not-invited", CONTRACT)
    ledger.send("sl-1", session(), CONTRACT)


def test_creating_a_contract_after_a_reset_lets_nothing_of_the_former_run_in(ledger: Ledger) -> None:
    late = ledger.write("sl-1", CONTRACT, session())
    ledger.send("sl-1", session(), CONTRACT)
    ledger.send("op-1", Reset(forced=True), CONTRACT)
    ledger.send("op-1", CreateContract(members=("org-1",)), CONTRACT)
    with pytest.raises(Rejection, match="former-run"):
        ledger.commit(late)
    assert ledger.training.run == 2


def test_a_proposal_to_create_a_contract_reserves_no_name(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        ledger.send(operator, SetPolicy("create-contract", "majority"), network.CONTRACT)
    ledger.send("op-3", CreateContract(members=("org-3",)), OWN)
    for operator in ("op-1", "op-2"):
        ledger.send(operator, CreateContract(members=("org-1", "org-2")), OWN)
    created = state_of(ledger.chain.world, OWN).charter
    assert created is not None
    assert (created.members, created.owner) == (("org-1", "org-2"), "org-1")
    refused(ledger, "op-1", Sign(3), "created-already", network.CONTRACT)
    refused(ledger, "op-2", CreateContract(), "created-already")


def test_the_owner_creates_its_contract_anew_after_a_reset(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(members=("org-1", "org-2")), OWN)
    refused(ledger, "op-1", CreateContract(), "created-already")
    ledger.send("sl-1", session(), OWN)
    ledger.send("op-1", Reset(forced=True), OWN)
    refused(ledger, "op-2", CreateContract(), "created-already: .* organisation org-1 owns it")
    ledger.send("op-1", CreateContract(members=("org-1", "org-3")), OWN)
    ledger.send("sl-3", session(), OWN)
    refused(ledger, "op-1", CreateContract(), "created-already")
    assert state_of(ledger.chain.world, OWN).run == 2


def test_anybody_creates_a_contract_anew_whose_owner_has_been_retired(ledger: Ledger) -> None:
    ledger.send("op-3", CreateContract(members=("org-3",)), OWN)
    for body in (RetireOrganisation("org-3"), Reset(forced=False)):
        for operator in ("op-1", "op-2"):
            refusal = "created-already: .* organisation org-3 owns it"
            refused(ledger, "op-1", CreateContract(), refusal)
            ledger.send(operator, body, OWN if isinstance(body, Reset) else network.CONTRACT)
    ledger.send("op-2", CreateContract(), OWN)
    assert state_of(ledger.chain.world, OWN).charter == Charter(owner="org-2")


# --- retired organisations -------------------------------------------------------------------------------------------


def retired(ledger: Ledger) -> None:
    """A contract of three members needs two, and two of these are retired while it trains."""
    ledger.send("op-1", CreateContract(members=("org-1", "org-2", "org-3")), OWN)
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, session(), OWN)
    for operators, name in ((("op-1", "op-2"), "org-3"), (("op-1", "op-2"), "org-2")):
        for operator in operators:
            ledger.send(operator, RetireOrganisation(name), network.CONTRACT)


def text(ledger: Ledger) -> str:
    world = ledger.chain.world
    return waiting_text(waiting_in(world, state_of(world, OWN)), {})


def test_a_training_that_can_never_have_enough_organisations_names_them_and_the_commands_that_help(
    ledger: Ledger,
) -> None:
    ledger.send("op-1", CreateContract(members=("org-1", "org-2", "org-3")), OWN)
    assert text(ledger) == "no session is open yet; no script has connected to sl-1, sl-2, sl-3"
    ledger.send("op-1", Reset(forced=False), OWN)
    retired(ledger)
    assert "a round needs sites of 2 organisations, and never gets them: org-2, org-3 of the contract" in text(ledger)
    assert "`swarm contract reset study --force`" in text(ledger)
    ledger.send("op-1", Reset(forced=True), OWN)
    assert "never gets them" in text(ledger)
    ledger.send("op-1", CreateContract(members=("org-1",)), OWN)
    assert text(ledger) == "no session is open yet; no script has connected to sl-1"
    ledger.send("sl-1", session(min_peers=1), OWN)
    assert text(ledger).startswith("round 0")


def test_a_training_that_has_enough_organisations_left_waits_for_them(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(members=("org-1", "org-2", "org-3")), OWN)
    ledger.send("sl-1", session(), OWN)
    for operator in ("op-1", "op-2"):
        ledger.send(operator, RetireOrganisation("org-3"), network.CONTRACT)
    assert text(ledger).endswith("1 more, sites of 1 more organisation; no script has connected to sl-2")


def test_a_training_whose_sites_of_an_organisation_have_all_been_revoked_states_that_others_have_to_join() -> None:
    organisations = {"a": "one", "b": "two", "c": "two"}
    play = Play("a", "b", organisations=organisations, charter=Charter(owner="one", min_organisations=2))
    assert "have to join" not in play.text
    play.shut_out("b")
    assert "waiting for a, b (left since " in play.text
    assert "sites of 1 more organisation have to join, since all sites of others have left, or operators" in play.text
    assert "`swarm contract reset contract --force`" in play.text
    play.open("c")
    assert "have to join" not in play.text


def test_sites_of_a_retired_organisation_that_have_finished_count_at_the_end_of_training() -> None:
    organisations = {"a": "one", "b": "two", "c": "three"}
    play = Play(*"abc", organisations=organisations, charter=Charter(owner="one", min_organisations=2))
    play.submit("a", "b", "c")
    play.publish()
    play.report("a", "b", "c")
    play.close("c")
    play.shut_out("c")
    play.close("a")
    play.submit("a", kind="snapshot")
    play.submit("b")
    play.publish()
    assert play.state.over
