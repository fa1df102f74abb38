"""The terms on which all sites must agree beside the model's structure: the first session that states one fixes it."""

from typing import Any

import pytest

from support.play import Play
from swarmlearning.ledger.contracts.rejection import Rejection

ONE, OTHER = "1" * 64, "2" * 64

NOT_MERGED = [("frozen", "the frozen tensors"), ("classes", "the classes"), ("features", "the features")]
each_of_them = pytest.mark.parametrize(("field", "text"), NOT_MERGED)


def stating(field: str, digest: str) -> Any:
    return {field: digest}


def named(rejection: Rejection) -> list[str]:
    return [field for field, text in NOT_MERGED if text in str(rejection)]


@each_of_them
def test_a_session_whose_fixed_part_differs_is_refused_by_its_name(field: str, text: str) -> None:
    play = Play()
    play.open("a", **stating(field, ONE))
    with pytest.raises(Rejection, match="All sites must agree") as caught:
        play.open("b", **stating(field, OTHER))
    assert caught.value.code == "other-terms"
    assert named(caught.value) == [field]
    play.open("b", **stating(field, ONE))


@each_of_them
def test_a_site_that_states_no_digest_fixes_none_and_contradicts_none(field: str, text: str) -> None:
    play = Play("a", min_peers=4)
    play.open("b", **stating(field, ONE))
    play.open("c")
    with pytest.raises(Rejection, match=text):
        play.open("d", **stating(field, OTHER))


def test_everything_that_differs_is_named_at_once() -> None:
    play = Play()
    play.open("a", frozen=ONE, classes=ONE, features=ONE)
    with pytest.raises(Rejection, match="minPeers is 2, this session has 3") as caught:
        play.open("b", frozen=OTHER, classes=OTHER, features=OTHER, min_peers=3)
    assert named(caught.value) == ["frozen", "classes", "features"]


def test_a_site_that_returns_with_another_fixed_part_is_refused() -> None:
    play = Play("a", "b")
    play.open("a", incarnation=2, frozen=ONE)
    with pytest.raises(Rejection, match="the frozen tensors differ"):
        play.open("a", incarnation=3, frozen=OTHER)
