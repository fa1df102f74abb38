"""Contracts that operators create: who may train under them, what a round needs, and whose reports count."""

from collections.abc import Callable

import msgspec
import pytest

from support.network import CONTRACT, STRUCTURE, Ledger, session
from support.organisations import three_organisations
from support.play import Play, merged, model
from support.play import over as ended
from swarmlearning.ledger.bodies import Body, CreateContract, Origin, Reset, Stop
from swarmlearning.ledger.contracts.network.policies import suffices
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.barring import is_barred
from swarmlearning.ledger.contracts.training.charter import may_read_result
from swarmlearning.ledger.contracts.training.contract import reset_alone
from swarmlearning.ledger.contracts.training.losing import lost_model
from swarmlearning.ledger.contracts.training.majorities import all_hold
from swarmlearning.ledger.contracts.training.state import Charter, needed_organisations, state_of

OWN = "study"


@pytest.fixture
def ledger() -> Ledger:
    return three_organisations()


def refused(ledger: Ledger, uid: str, body: Body, match: str, contract: str = OWN) -> None:
    with pytest.raises(Rejection, match=match):
        ledger.send(uid, body, contract)


# --- creating -------------------------------------------------------------------------------------------------------


def test_a_contract_that_nobody_has_created_is_refused_with_the_command_that_creates_it(ledger: Ledger) -> None:
    refused(ledger, "sl-1", session(), r"no-contract: .* swarm contract create study")


def test_the_contract_of_scripts_that_name_none_is_open_to_every_organisation(ledger: Ledger) -> None:
    for uid in ("sl-1", "sl-2", "sl-3"):
        ledger.send(uid, session(), CONTRACT)
    assert len(ledger.training.members) == 3


def test_only_sites_of_its_members_train_under_a_contract(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(members=("org-1", "org-2")), OWN)
    ledger.send("sl-1", session(), OWN)
    refused(ledger, "sl-3", session(), "not-invited: contract study is for org-1, org-2; this site belongs to org-3")


def test_a_contract_without_members_is_open_to_every_organisation(ledger: Ledger) -> None:
    ledger.send("op-2", CreateContract(), OWN)
    for uid in ("sl-1", "sl-3"):
        ledger.send(uid, session(), OWN)
    assert state_of(ledger.chain.world, OWN).charter == Charter(owner="org-2")


def test_a_name_belongs_to_whoever_has_created_it_first(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(members=("org-1",)), OWN)
    refused(ledger, "op-2", CreateContract(), "created-already: .* organisation org-1 owns it")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (CreateContract(members=("org-9",)), "unknown-organisation: no organisation org-9"),
        (CreateContract(observers=("org-9",)), "unknown-organisation"),
        (CreateContract(members=("org-1",), min_organisations=2), "locked-out: a round would need sites of 2"),
        (CreateContract(members=("org-1", "org-1"), min_organisations=2), "of 2 organisations, and 1 are members"),
    ],
)
def test_a_contract_that_could_never_be_trained_is_refused(ledger: Ledger, body: CreateContract, match: str) -> None:
    refused(ledger, "op-1", body, match)


@pytest.mark.parametrize(
    ("created", "match"),
    [
        (CreateContract(merge_method="geomedian"), "other-terms: .* mergeMethod geomedian; this session has mean"),
        (CreateContract(min_peers=3), "other-terms: .* minPeers 3; this session has 2"),
        (CreateContract(structure="7" * 64), "other-terms: .* the model's structure 777"),
    ],
)
def test_sessions_have_the_terms_that_a_contract_was_created_with(
    ledger: Ledger, created: CreateContract, match: str
) -> None:
    ledger.send("op-1", created, OWN)
    refused(ledger, "sl-1", session(), match)


def test_terms_that_agree_with_those_of_the_contract_are_accepted(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(merge_method="mean", min_peers=2, structure=STRUCTURE), OWN)
    ledger.send("sl-1", session(), OWN)


def test_its_owner_alone_resets_a_contract_and_others_need_a_majority(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(members=("org-1", "org-2")), OWN)
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, session(), OWN)
    ledger.send("op-2", Stop(), OWN)
    assert not state_of(ledger.chain.world, OWN).stopping
    ledger.send("op-3", Stop(), OWN)
    assert state_of(ledger.chain.world, OWN).stopping
    ledger.send("op-1", Reset(forced=True), OWN)
    after = state_of(ledger.chain.world, OWN)
    assert (after.run, after.charter and after.charter.members) == (2, ("org-1", "org-2"))


# --- contracts of all organisations ---------------------------------------------------------------------------------


def test_a_shared_contract_in_which_others_train_too_is_not_ended_by_whoever_has_created_it(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(shared=True), OWN)
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, session(), OWN)
    ledger.send("op-1", Reset(forced=True), OWN)
    assert state_of(ledger.chain.world, OWN).run == 1, "one organisation of three is no majority"
    ledger.send("op-2", Reset(forced=True), OWN)
    assert state_of(ledger.chain.world, OWN).run == 2


def test_any_organisation_resets_a_shared_contract_that_nobody_trains_under(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(shared=True), OWN)
    ledger.send("op-3", Reset(forced=False), OWN)
    assert state_of(ledger.chain.world, OWN).run == 2


def test_any_organisation_resets_a_shared_contract_once_its_training_is_over(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(shared=True), OWN)
    over = msgspec.structs.replace(ended().state, name=OWN, charter=Charter(owner="org-1", shared=True))
    world = ledger.chain.world.with_entries({f"training/{OWN}": over})
    assert suffices(world, "reset-contract", reset_alone(world, OWN, Reset(forced=False)), ("org-3",))
    running = world.with_entries({f"training/{OWN}": msgspec.structs.replace(over, over=False)})
    assert not suffices(running, "reset-contract", reset_alone(running, OWN, Reset(forced=True)), ("org-3",))


def test_whoever_has_created_a_shared_contract_reads_its_results_only_where_its_sites_train(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(shared=True), OWN)
    ledger.send("sl-2", session(), OWN)
    world = ledger.chain.world
    readers = [
        organisation
        for organisation in ("org-1", "org-2")
        if may_read_result(world, state_of(world, OWN), organisation, "SWCI", final=True)
    ]
    assert readers == ["org-2"]


def test_a_session_states_the_task_for_which_its_site_was_started(ledger: Ledger) -> None:
    origin = Origin("runner", "d" * 64, 3, 1)
    assert ledger.send("sl-1", session(origin=origin)).members["sl-1"].origin == origin


# --- weights --------------------------------------------------------------------------------------------------------


def test_with_equal_weights_a_site_s_own_weightage_does_not_count() -> None:
    play = Play("a", charter=Charter(owner="one", weights="equal"))
    play.open("b", weightage=100)
    assert [play.member(uid).weightage for uid in "ab"] == [1, 1]


# --- what a round needs ---------------------------------------------------------------------------------------------

SITES = {"a": "one", "b": "one", "c": "two", "d": "three", "e": "one"}


def trained(minimum: int, *uids: str) -> Play:
    return Play(*uids, organisations=SITES, charter=Charter(owner="one", min_organisations=minimum))


def test_a_round_opens_when_sites_of_enough_organisations_are_there() -> None:
    play = trained(2, "a", "b")
    assert play.state.round is None
    play.open("c")
    assert play.round.number == 0


def test_a_round_is_not_frozen_with_models_of_too_few_organisations() -> None:
    play = trained(2, "a", "b", "c")
    play.submit("a", "b")
    with pytest.raises(Rejection, match=r"below-min-peers: .* 2 of 2 models, or not of 2 organisations"):
        play.freeze()
    play.set_attendance("c", "lost")
    assert not play.frozen
    play.set_attendance("c", "present")
    play.submit("c")
    assert play.frozen


def test_a_merge_of_too_few_organisations_is_no_result() -> None:
    play = trained(2, "a", "b", "c")
    play.submit("a", "b", "c")
    with pytest.raises(Rejection, match="below-min-peers: 2 usable models are fewer than minPeers 2, or not of 2"):
        play.publish(without={"c": "non-finite"})
    play.publish(without={"c": "non-finite"}, result="")
    assert play.round.phase == "collecting"


def test_training_is_over_when_sites_of_enough_organisations_have_finished() -> None:
    play = trained(2, "a", "b", "c")
    for uid in "ab":
        play.close(uid)
    play.submit("a", "b", kind="snapshot")
    play.submit("c")
    play.publish()
    assert not play.state.over
    play.close("c")
    play.submit("a", "b", "c", kind="snapshot")
    play.publish()
    assert play.state.over


# --- reports --------------------------------------------------------------------------------------------------------


def test_the_reports_of_two_nodes_of_one_organisation_count_as_one_where_three_take_part() -> None:
    play = Play("a", "b", "c", "d", organisations={"a": "two", "b": "one", "c": "one", "d": "three"})
    assert play.leader == "a"
    play.depose("b", "c")
    assert play.round.term == 0
    play.depose("d")
    assert play.round.term == 1


def test_two_nodes_depose_a_leader_where_two_organisations_take_part() -> None:
    play = Play("a", "b", "c", organisations={"a": "two", "b": "one", "c": "one"})
    play.depose("b", "c")
    assert play.round.term == 1


def test_an_sn_s_report_counts_for_its_organisation() -> None:
    play = Play("a", "b", "c", organisations={"a": "one", "b": "two", "c": "three", "sn": "two"})
    play.depose("b")
    play.depose("sn", by_sn=True)
    assert play.round.term == 0
    play.depose("c")
    assert play.round.term == 1


# --- each place in which sites are counted --------------------------------------------------------------------------


def counted(needed: int, *uids: str, min_peers: int = 2) -> Play:
    charter = Charter(owner="one", min_organisations=needed)
    return Play(*uids, organisations=SITES, charter=charter, min_peers=min_peers)


def opens(play: Play) -> bool:
    return play.state.round is not None


def opens_with_one_that_returns(play: Play) -> bool:
    play.set_attendance("b", "lost")
    play.set_attendance("b", "present")
    return play.state.round is not None


def freezes_when_nobody_else_is_awaited(play: Play) -> bool:
    play.submit("a", "b")
    play.set_attendance("c", "lost")
    return play.frozen


def is_frozen_by_its_leader(play: Play) -> bool:
    play.submit("a", "b")
    try:
        play.freeze()
    except Rejection:
        return False
    return play.frozen


def has_a_result(play: Play) -> bool:
    play.submit("a", "b", "c")
    play.publish(without={"c": "non-finite"}, result=merged(0) if needed_organisations(play.state) == 1 else "")
    return play.state.result is not None


def ends(play: Play) -> bool:
    play.close("a")
    play.close("b")
    play.submit("a", "b", kind="snapshot")
    play.submit("c")
    play.publish()
    return play.state.over


def stays_frozen_when_one_is_shut_out(play: Play) -> bool:
    play.submit("a", "b", "c")
    play.shut_out("c")
    return play.frozen


def is_void_though_two_hold_it(play: Play) -> bool:
    play.complete_round("a", "b", "c", "d", "e")
    play.missing("a", "b", "e", lasting=True)
    return lost_model(play.state) is not None


def is_void_when_all_that_are_left_miss_it(play: Play) -> bool:
    play.complete_round("a", "b", "c")
    play.set_attendance("c", "lost")
    play.missing("a", "b")
    return lost_model(play.state) is not None


def settles_without_one_that_has_given_up(play: Play) -> bool:
    play.close("a")
    play.close("b")
    play.close("c")
    play.submit("a", "b", "c", kind="snapshot")
    play.publish()
    play.report("a", "b")
    play.missing("c", lasting=True)
    return all_hold(play.state)


@pytest.mark.parametrize(
    ("uids", "happens"),
    [
        ("ab", opens),
        ("ab", opens_with_one_that_returns),
        ("abc", freezes_when_nobody_else_is_awaited),
        ("abc", is_frozen_by_its_leader),
        ("abc", has_a_result),
        ("abc", ends),
        ("abc", stays_frozen_when_one_is_shut_out),
        ("abcde", is_void_though_two_hold_it),
        ("abc", is_void_when_all_that_are_left_miss_it),
        ("abc", settles_without_one_that_has_given_up),
    ],
)
def test_two_sites_of_one_organisation_are_enough_only_where_one_organisation_is(
    uids: str, happens: Callable[[Play], bool]
) -> None:
    assert happens(counted(1, *uids))
    assert not happens(counted(2, *uids))


@pytest.mark.parametrize(("second", "barred"), [("one", False), ("three", True)])
def test_two_leaders_bar_a_model_only_where_they_are_of_two_organisations(second: str, barred: bool) -> None:
    organisations = {"a": "one", "b": second, "c": "two", "d": "three"}
    play = Play(*organisations, organisations=organisations, min_peers=4)
    play.submit("a", "b", "c", "d")
    for leader in "ab":
        assert play.leader == leader
        play.publish(without={"c": "non-finite"}, result="")
        if leader == "a":
            play.submit("c")
    assert play.leader == "c"
    assert is_barred(play.state, "c", model("c", 0)) is barred


def test_while_too_few_organisations_take_part_the_text_states_how_many_are_missing() -> None:
    play = counted(3, "a", "b", "c")
    assert "3 of 2 sessions of contract contract are open; round 0 waits for sites of 1 more organisation" in play.text
    play = counted(3, "a", min_peers=2)
    assert "round 0 waits for 1 more, sites of 2 more organisations" in play.text


def test_while_models_are_of_too_few_organisations_the_text_states_how_many_are_needed() -> None:
    play = counted(2, "a", "b", "c")
    play.submit("a", "b")
    assert "2 models in, minPeers 2, of 1 of the 2 organisations needed" in play.text
    assert "organisations" not in counted(1, "a", "b").text
