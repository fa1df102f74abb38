"""How models travel is fixed by whoever creates the contract; rules before version 3 know nothing of it."""

import msgspec
import pytest

from support.network import Ledger, session
from support.play import Play
from swarmlearning.choices import MergeMethod, Transfer
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.assigning import concerns
from swarmlearning.ledger.contracts.training.bodies import CreateContract, Exclusion, Publish, Receipt
from swarmlearning.ledger.contracts.training.charter import check_charter
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.serving import coded_as
from swarmlearning.ledger.contracts.training.slices import Fault
from swarmlearning.ledger.contracts.training.state import Charter, empty, state_of
from swarmlearning.ledger.contracts.training.transfers import check_created, check_reasons, has_feedback, merged_of
from swarmlearning.ledger.world import World

CODED = Charter("org-1", transfer="int8")


def test_a_contract_keeps_its_transfer() -> None:
    ledger = Ledger()
    ledger.join("op", "SWCI")
    ledger.send("op", CreateContract(transfer="int4"), "study")
    charter = state_of(ledger.chain.world, "study").charter
    assert charter is not None
    assert charter.transfer == "int4"


def test_contracts_without_a_transfer_are_the_bytes_that_they_were() -> None:
    assert "transfer" not in msgspec.json.decode(msgspec.json.encode(CreateContract()))
    assert "transfer" not in msgspec.json.decode(msgspec.json.encode(Charter("org-1")))
    for plain in (CreateContract(), Charter("org-1"), Publish(0, 0, "", 0, Receipt("mean", (), ()))):
        assert not {"transfer_back", "change"} & msgspec.json.decode(msgspec.json.encode(plain)).keys()
    with pytest.raises(msgspec.ValidationError, match="int2"):
        msgspec.convert({"kind": "CreateContract", "transfer": "int2"}, CreateContract)


def test_rules_before_version_three_refuse_what_they_do_not_know() -> None:
    check_created(CreateContract(), coded=False)
    with pytest.raises(Rejection, match="this network's rules know no transfer; its operators switch them first"):
        check_created(CreateContract(transfer="int8"), coded=False)
    with pytest.raises(Rejection, match="this network's rules know no transfer"):
        check_created(CreateContract(transfer_back="int8"), coded=False)
    receipt = Receipt("mean", (), (Exclusion("b", "malformed", ""),))
    with pytest.raises(Rejection, match="nothing is malformed"):
        check_reasons(Publish(0, 0, "", 0, receipt))
    check_reasons(Publish(0, 0, "", 0, msgspec.structs.replace(receipt, exclusions=())))


@pytest.mark.parametrize("method", ["coordmedian", "geomedian"])
def test_int4_is_too_coarse_for_medians(method: MergeMethod) -> None:
    with pytest.raises(Rejection, match=f"too coarse for {method}.* Use int8, or mergeMethod mean"):
        check_created(CreateContract(transfer="int4", merge_method=method), coded=True)
    check_created(CreateContract(transfer="int8", merge_method=method), coded=True)
    state = empty("study", charter=Charter("org-1", members=("org-1",), transfer="int4"))
    with pytest.raises(Rejection, match=f"too coarse for {method}"):
        check_charter(World(), state, session(merge_method=method), "org-1")
    check_charter(World(), state, session(), "org-1")
    assert not has_feedback(method)
    assert has_feedback("mean")


@pytest.mark.parametrize(("charter", "transfer"), [(None, "float32"), (CODED, "int8")])
def test_only_contributions_to_rounds_with_a_base_are_coded(charter: Charter | None, transfer: Transfer) -> None:
    play = Play("a", "b", charter=charter)
    play.submit("a", "b")
    assert recipe_of(play.state, play.round).transfer == "float32"
    first = play.round.submissions["a"].digest
    assert coded_as(play.state, first) == "float32"
    play.publish()
    play.report("a", "b")
    play.submit("a", "b")
    now = play.round
    assert recipe_of(play.state, now).transfer == transfer
    assert coded_as(play.state, now.submissions["a"].digest) == transfer
    assert coded_as(play.state, now.base) == coded_as(play.state, first) == coded_as(play.state, "0" * 64) == "float32"


def test_a_change_is_stated_where_merges_travel_so_and_counts_as_long_as_the_result_stands() -> None:
    play = Play("a", "b", charter=Charter("org-1", transfer_back="int8"))
    play.submit("a", "b")
    with pytest.raises(Rejection, match="round 0: there is none to be a coded change"):
        play.publish(change="c" * 64)
    play.publish()
    play.report("a", "b")
    play.submit("a", "b")
    assert recipe_of(play.state, play.round).back == "int8"
    with pytest.raises(Rejection, match="round 1: there is due to be a coded change"):
        play.publish()
    play.publish(change="c" * 64)
    assert play.state.change == "c" * 64
    assert merged_of(play.state) == play.result.digest
    play.missing("a", "b")
    play.void()
    assert play.state.change == merged_of(play.state) == ""


def test_a_result_that_is_the_base_has_no_change() -> None:
    play = Play("a", "b", charter=Charter("org-1", transfer_back="int8"))
    play.complete_round("a", "b")
    play.submit("a", "b")
    base = play.round.base
    with pytest.raises(Rejection, match="round 1: there is none to be a coded change"):
        play.publish(result=base, change="c" * 64)
    play.publish(result=base)
    assert play.result.digest == base


def test_recipes_of_whole_models_have_the_names_that_they_had() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    recipe = recipe_of(play.state, play.round)
    assert not {"transfer", "back"} & msgspec.json.decode(msgspec.json.encode(recipe)).keys()
    assert msgspec.structs.replace(recipe, transfer="int8").name != recipe.name
    assert msgspec.structs.replace(recipe, back="int8").name != recipe.name


def test_malformed_codes_concern_the_slice_in_which_they_are() -> None:
    fault = Fault(3, "a", Exclusion("b", "malformed", "'w'"))
    assert concerns(fault, 3)
    assert not concerns(fault, 2)
