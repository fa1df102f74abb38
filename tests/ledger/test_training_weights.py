"""How much a site counts in a merge: by its own weightage, equally or by its samples, up to an organisation's cap."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.network import session
from support.play import Play, receipt_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import (
    CreateContract,
    ExclusionReason,
    OpenSession,
    Receipt,
    SubmissionKind,
    Submit,
    Weights,
)
from swarmlearning.ledger.contracts.training.charter import check_charter
from swarmlearning.ledger.contracts.training.state import Charter, Training, empty
from swarmlearning.ledger.contracts.training.weighing import LARGEST_SUM, coefficients
from swarmlearning.ledger.world import World

SITES = {"a": "one", "b": "one", "c": "two", "d": "three"}


def training(cap: int, organisations: dict[str, str]) -> Training:
    """A contract with this cap in thousandths, and a site of each organisation."""
    charter = Charter(owner="one", max_organisation_weight=cap)
    return Play(*organisations, organisations=organisations, charter=charter).state


# --- a site's own weight --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "expected"), [("own", 7), ("equal", 1), ("samples", 1200)])
def test_a_site_weighs_what_its_contract_counts(weights: Weights, expected: int) -> None:
    play = Play(charter=Charter(owner="one", weights=weights))
    play.open("a", weightage=7, samples=1200)
    assert play.member("a").weightage == expected


def test_a_contract_by_samples_refuses_a_session_that_states_none_and_names_the_argument() -> None:
    state = empty("study", charter=Charter(owner="one", members=("one",), weights="samples"))
    with pytest.raises(Rejection, match=r"no-samples: contract study .* trainingSamples=len\(data\)"):
        check_charter(World(), state, session(), "one")
    check_charter(World(), state, session(samples=1), "one")


@pytest.mark.parametrize("weights", ["own", "equal"])
def test_other_contracts_need_no_number_of_samples(weights: Weights) -> None:
    state = empty("study", charter=Charter(owner="one", members=("one",), weights=weights))
    check_charter(World(), state, session(), "one")


@pytest.mark.parametrize("wrong", ["NaN", "1e999", "-1", "0.5", '"1"', "9007199254740992", "null", "true"])
@pytest.mark.parametrize("field", ["weightage", "samples"])
def test_a_session_whose_weight_is_no_whole_number_is_malformed(field: str, wrong: str) -> None:
    good = msgspec.json.encode(session(samples=3)).decode()
    number = {"weightage": '"weightage":1', "samples": '"samples":3'}[field]
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(good.replace(number, f'"{field}":{wrong}'), type=OpenSession)


def test_a_site_without_any_weight_is_malformed() -> None:
    text = msgspec.json.encode(session()).decode().replace('"weightage":1', '"weightage":0')
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=OpenSession)


@pytest.mark.parametrize("kind", ["trained", "snapshot", "active"])
def test_a_site_that_is_not_inactive_submits_no_model_of_weight_0(kind: SubmissionKind) -> None:
    play = Play("a", "b")
    if kind in ("snapshot", "active"):
        play.close("a", kind)
    with pytest.raises(Rejection, match="wrong-weight: the weight of a in this round is 1, not 0"):
        play.submit("a", kind=kind, weight=0)


@pytest.mark.parametrize("wrong", ["NaN", "-1", "1.5"])
def test_a_model_whose_weight_is_no_whole_number_is_malformed(wrong: str) -> None:
    text = msgspec.json.encode(Submit(0, "", "trained", "0" * 64, 1, weight=12)).decode()
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(text.replace('"weight":12', f'"weight":{wrong}'), type=Submit)


@pytest.mark.parametrize("cap", [-1, 1001])
def test_a_cap_that_is_no_share_is_malformed(cap: int) -> None:
    text = msgspec.json.encode(CreateContract(max_organisation_weight=500)).decode().replace("500", str(cap))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=CreateContract)


# --- the cap on an organisation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cap", "organisations", "weights", "expected"),
    [
        (0, SITES, {"a": 100, "b": 100, "c": 1}, {"a": 100, "b": 100, "c": 1}),
        (500, SITES, {"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 1, "b": 1, "c": 1, "d": 1}),
        (500, SITES, {"a": 3, "b": 1, "c": 1, "d": 1}, {"a": 3, "b": 1, "c": 2, "d": 2}),
        (500, SITES, {"a": 100, "c": 1}, {"a": 1, "c": 1}),
        (400, SITES, {"a": 10, "c": 10, "d": 1}, {"a": 2, "c": 2, "d": 1}),
        (300, SITES, {"a": 5, "b": 5, "c": 7, "d": 2}, {"a": 1, "b": 1, "c": 2, "d": 2}),
        (500, SITES, {"a": 60, "b": 40}, {"a": 60, "b": 40}),
        (500, SITES, {"a": 9, "c": 0, "d": 3}, {"a": 3, "c": 0, "d": 3}),
        (500, SITES, {"a": 0, "b": 0}, {"a": 0, "b": 0}),
        (1, SITES, {"a": 8, "b": 8, "c": 4, "d": 4}, {"a": 2, "b": 2, "c": 4, "d": 4}),
        (1000, SITES, {"a": 100, "c": 1}, {"a": 100, "c": 1}),
    ],
)
def test_an_organisation_above_its_cap_is_scaled_down_in_proportion(
    cap: int, organisations: dict[str, str], weights: dict[str, int], expected: dict[str, int]
) -> None:
    assert shares(coefficients(training(cap, organisations), weights)) == shares(expected)


def shares(weights: dict[str, int]) -> dict[str, Fraction]:
    total = sum(weights.values()) or 1
    return {uid: Fraction(weight, total) for uid, weight in weights.items()}


def test_weights_below_the_cap_are_used_as_they_are() -> None:
    weights = {"a": 2, "b": 4, "c": 6, "d": 8}
    assert coefficients(training(500, SITES), weights) == weights


WEIGHTS = st.dictionaries(st.integers(0, 11).map(str), st.integers(0, 2**53 - 1), min_size=1, max_size=12)


@given(WEIGHTS, st.integers(1, 1000), st.integers(1, 5))
def test_no_organisation_exceeds_its_cap_where_enough_take_part(
    weights: dict[str, int], cap: int, organisations: int
) -> None:
    belongs = {uid: f"org-{int(uid) % organisations}" for uid in weights}
    found = coefficients(training(cap, belongs), weights)
    sums = {each: sum(found[uid] for uid in found if belongs[uid] == each) for each in set(belongs.values())}
    heavy, total = [each for each in sums.values() if each], sum(found.values())
    assert {uid for uid in found if found[uid]} == {uid for uid in weights if weights[uid]}
    assert total <= LARGEST_SUM + len(found)
    if heavy:
        allowed = max(Fraction(cap, 1000), Fraction(1, len(heavy)))
        assert Fraction(max(heavy), total) <= allowed + Fraction(1, 10**6)


@given(WEIGHTS, st.integers(0, 1000))
def test_sites_of_one_organisation_keep_their_order(weights: dict[str, int], cap: int) -> None:
    belongs = {uid: f"org-{int(uid) % 3}" for uid in weights}
    found = coefficients(training(cap, belongs), weights)
    for one in weights:
        for other in weights:
            if belongs[one] == belongs[other] and weights[one] <= weights[other]:
                assert found[one] <= found[other]


# --- the receipt ----------------------------------------------------------------------------------------------------


def frozen(cap: int) -> Play:
    play = Play(organisations=SITES, charter=Charter(owner="one", max_organisation_weight=cap))
    for uid, weightage in {"a": 100, "c": 1, "d": 1}.items():
        play.open(uid, weightage=weightage)
    play.submit("a", "c", "d")
    assert play.frozen
    return play


def test_a_mean_whose_coefficients_ignore_the_cap_is_no_result() -> None:
    play = frozen(500)
    with pytest.raises(Rejection, match="wrong-contribution: the coefficients of a mean"):
        play.publish(receipt=with_coefficients(play, a=100, c=1, d=1))
    play.publish(receipt=with_coefficients(play, a=2, c=1, d=1))
    assert play.result.closed.number == 0


def test_the_cap_holds_among_the_models_that_are_merged_not_among_those_submitted() -> None:
    play = frozen(500)
    with pytest.raises(Rejection, match="wrong-contribution"):
        play.publish(receipt=with_coefficients(play, a=2, c=1))
    play.publish(receipt=with_coefficients(play, a=1, c=1))
    assert play.result.closed.number == 0


def with_coefficients(play: Play, **expected: int) -> Receipt:
    """An honest leader's receipt but for these coefficients; who has none is excluded."""
    excluded: dict[str, ExclusionReason] = dict.fromkeys(play.round.submissions.keys() - expected.keys(), "unreachable")
    made = receipt_of(play.round, excluded)
    parts = tuple(msgspec.structs.replace(part, coefficient=expected[part.uid]) for part in made.contributions)
    return msgspec.structs.replace(made, contributions=parts)
