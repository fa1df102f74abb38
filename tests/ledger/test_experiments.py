"""What organisations note about runs: who may, how much, and that it changes no training and nobody else's notes."""

from copy import copy
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.governed import AUTHORITIES
from support.network import CONTRACT, Ledger, organisation, parse, session
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    AnnotateRun,
    Body,
    CreateContract,
    HideRun,
    Quotas,
    Reset,
    SetQuotas,
    TagRun,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.experiments import Annotation, annotations, annotations_of
from swarmlearning.ledger.contracts.experiments.bodies import MAX_TAGS
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError

NETWORK = network.CONTRACT
OTHER = "org-2"


@cache
def begun() -> Ledger:
    """Two organisations with an operator each; the first has a site in run 1 of the default contract."""
    made = Ledger(AUTHORITIES["org-1"])
    made.join("op", "UI")
    made.send("op", AdmitOrganisation(organisation(OTHER, AUTHORITIES[OTHER])), NETWORK)
    made.join("op-2", "SWCI", AUTHORITIES[OTHER])
    made.join("sl-1")
    made.send("sl-1", session(1))
    return made


def again() -> Ledger:
    """The same, for one test to go on with."""
    made = copy(begun())
    made.actors, made.blocks = {uid: copy(actor) for uid, actor in made.actors.items()}, [*made.blocks]
    return made


@pytest.fixture
def ledger() -> Ledger:
    return again()


def noted(ledger: Ledger, run: int = 1) -> list[Annotation]:
    return list(annotations_of(ledger.chain.world, CONTRACT, run))


# --- what is noted ----------------------------------------------------------------------------------------------------


def test_an_annotation_says_what_who_when_and_for_whom(ledger: Ledger) -> None:
    ledger.send("op", AnnotateRun(1, "a first try\nwith few sites"), on_behalf_of="Ada")
    ledger.send("op", TagRun(1, ("pilot", "2026")), on_behalf_of="Bob")
    [found] = noted(ledger)
    assert found == Annotation(
        contract=CONTRACT,
        run=1,
        organisation="org-1",
        by="op",
        changed_ms=ledger.chain.time_ms,
        text="a first try\nwith few sites",
        tags=("2026", "pilot"),
        on_behalf_of="Bob",
    )


def test_tags_are_given_and_taken_away_one_by_one(ledger: Ledger) -> None:
    ledger.send("op", TagRun(1, ("a", "b", "b")))
    ledger.send("op", TagRun(1, ("c",), remove=("a", "never there")))
    assert noted(ledger)[0].tags == ("b", "c")
    with pytest.raises(Rejection, match="no-change"):
        ledger.send("op", TagRun(1, ("b",)))


def test_each_organisation_has_its_own_annotation_and_hides_a_run_from_itself_only(ledger: Ledger) -> None:
    ledger.send("op", AnnotateRun(1, "ours"))
    ledger.send("op-2", AnnotateRun(1, "theirs"))
    ledger.send("op-2", HideRun(1, hidden=True))
    assert [(each.organisation, each.text, each.hidden) for each in noted(ledger)] == [
        ("org-1", "ours", False),
        (OTHER, "theirs", True),
    ]


def test_an_annotation_that_says_nothing_any_more_is_gone_and_makes_room(ledger: Ledger) -> None:
    for body in (AnnotateRun(1, "x"), TagRun(1, ("t",)), HideRun(1, hidden=True)):
        ledger.send("op", body)
    for back in (AnnotateRun(1, ""), TagRun(1, remove=("t",))):
        ledger.send("op", back)
        assert noted(ledger)
    ledger.send("op", HideRun(1, hidden=False))
    assert not annotations(ledger.chain.world)


def test_what_was_noted_about_a_run_stays_after_the_reset_and_the_next_run_has_none(ledger: Ledger) -> None:
    ledger.send("op", AnnotateRun(1, "the first"))
    ledger.send("op", Reset(forced=True))
    with pytest.raises(Rejection, match=f"no-run: contract {CONTRACT} has no run 2: it has had 1"):
        ledger.send("op", AnnotateRun(2, "too early"))
    ledger.send("sl-1", session(1))
    ledger.send("op", AnnotateRun(2, "the second"))
    ledger.send("op", TagRun(1, ("old",)))
    assert [each.text for run in (1, 2) for each in noted(ledger, run)] == ["the first", "the second"]


@pytest.mark.parametrize("body", [AnnotateRun(1, "x"), TagRun(1, ("x",)), HideRun(1, hidden=True)])
def test_no_annotation_changes_a_training_and_none_is_of_a_contract_that_there_is_not(
    ledger: Ledger, body: Body
) -> None:
    before = ledger.training
    assert ledger.send("op", body) is before
    with pytest.raises(Rejection, match="no-run: contract another has no run 1: it has had 0"):
        ledger.send("op", body, "another")


# --- who may, and how much --------------------------------------------------------------------------------------------


def test_runs_of_a_contract_with_members_are_annotated_by_these_its_owner_and_its_observers(ledger: Ledger) -> None:
    ledger.send("op", CreateContract(members=("org-1",)), "study")
    ledger.send("sl-1", session(1), "study")
    with pytest.raises(Rejection, match=f"not-invited: contract study is for org-1; .* by {OTHER}"):
        ledger.send("op-2", AnnotateRun(1, "x"), "study")
    ledger.send("op", AnnotateRun(1, "x"), "study")
    ledger.send("op", CreateContract(members=("org-1",), observers=(OTHER,)), "seen")
    ledger.send("sl-1", session(1), "seen")
    ledger.send("op-2", AnnotateRun(1, "x"), "seen")


def test_a_run_has_a_bounded_number_of_tags(ledger: Ledger) -> None:
    ledger.send("op", TagRun(1, tuple(f"t{number}" for number in range(MAX_TAGS))))
    with pytest.raises(Rejection, match=r"too-many: run 1 .* would have 17 tags"):
        ledger.send("op", TagRun(1, ("one more",)))
    ledger.send("op", TagRun(1, ("one more",), remove=("t0",)))


def _quota(ledger: Ledger, runs: int) -> None:
    for operator in ("op", "op-2"):
        ledger.send(operator, SetQuotas("org-1", Quotas(tasks=runs)), NETWORK)


def test_an_organisation_annotates_as_many_runs_as_its_quota_of_tasks_allows(ledger: Ledger) -> None:
    _quota(ledger, 2)
    for _ in range(2):
        ledger.send("op", Reset(forced=True))
        ledger.send("sl-1", session(1))
    ledger.send("op", HideRun(1, hidden=True))
    ledger.send("op", TagRun(2, ("t",)))
    with pytest.raises(Rejection, match=r"too-many: organisation org-1 has 2 annotated runs, its quota of tasks is 2"):
        ledger.send("op", AnnotateRun(3, "x"))
    ledger.send("op", AnnotateRun(2, "what is there may change"))
    ledger.send("op-2", AnnotateRun(3, "others have their own quota"))
    ledger.send("op", HideRun(1, hidden=False))
    ledger.send("op", AnnotateRun(3, "x"))


def test_the_bytes_of_all_annotations_of_an_organisation_are_bounded(ledger: Ledger) -> None:
    _quota(ledger, 5)
    for _ in range(4):
        ledger.send("op", Reset(forced=True))
        ledger.send("sl-1", session(1))
    long = "\U0001f600" * 2000
    for run in (1, 2):
        ledger.send("op", AnnotateRun(run, long))
    with pytest.raises(
        Rejection, match=r"too-many: organisation org-1 would have 24000 bytes of annotations, .* 18944"
    ):
        ledger.send("op", AnnotateRun(3, long))
    _quota(ledger, 1)
    ledger.send("op", AnnotateRun(2, long[:1000]))  # what is shortened is never refused


@pytest.mark.parametrize(
    "body",
    [
        AnnotateRun(1, "x" * 2001),
        AnnotateRun(1, "a\tb"),
        AnnotateRun(1, "right\u202eleft"),
        AnnotateRun(0, "x"),
        TagRun(1, ("a,b",)),
        TagRun(1, ("",)),
        TagRun(1, (" a",)),
        TagRun(1, ("a ",)),
        TagRun(1, ("two\nlines",)),
        TagRun(1, ("x" * 41,)),
        TagRun(1, tuple(f"t{number}" for number in range(MAX_TAGS + 1))),
    ],
)
def test_texts_and_tags_are_bounded_and_visible(ledger: Ledger, body: Body) -> None:
    with pytest.raises(MalformedError, match="not a transaction"):
        parse(ledger.write("op", CONTRACT, body).raw)


# --- properties -------------------------------------------------------------------------------------------------------

NOTHING: tuple[str, frozenset[str], bool] = ("", frozenset(), False)
TAGS = st.lists(st.sampled_from(("a", "b", "c")), max_size=3).map(tuple)
ACTS = st.one_of(
    st.builds(AnnotateRun, st.just(1), st.sampled_from(("", "x", "y"))),
    st.builds(TagRun, st.just(1), TAGS, TAGS),
    st.builds(HideRun, st.just(1), st.booleans()),
)


@given(st.lists(st.tuples(st.sampled_from(("org-1", OTHER)), ACTS), max_size=12))
def test_an_annotation_is_what_its_own_organisation_has_said_last(acts: list[tuple[str, Body]]) -> None:
    ledger = again()
    said: dict[str, tuple[str, frozenset[str], bool]] = {}
    for who, body in acts:
        text, tags, hidden = said.get(who, NOTHING)
        match body:
            case AnnotateRun():
                after = (body.text, tags, hidden)
            case TagRun():
                after = (text, (tags | set(body.add)) - set(body.remove), hidden)
            case HideRun():
                after = (text, tags, body.hidden)
            case _:
                raise AssertionError
        operator = "op" if who == "org-1" else "op-2"
        if after == said.get(who, NOTHING):
            with pytest.raises(Rejection, match="no-change"):
                ledger.send(operator, body)
        else:
            ledger.send(operator, body)
        said[who] = after
    found = {each.organisation: (each.text, frozenset(each.tags), each.hidden) for each in noted(ledger)}
    assert found == {who: each for who, each in said.items() if each != NOTHING}
