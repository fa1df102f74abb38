"""The nodes that may read a model: members a result, the leader alone what one site has contributed."""

from dataclasses import replace
from functools import cache

import msgspec
import pytest

from support.network import Ledger
from support.play import Play, merged, model
from support.slicing import InSlices, frozen, publish_and_hold
from swarmlearning.ledger.bodies import Check
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.network import Certificate
from swarmlearning.ledger.contracts.training.bodies import Exclusion
from swarmlearning.ledger.contracts.training.slices import change_name, chunks_between
from swarmlearning.ledger.contracts.training.slicing import follow
from swarmlearning.sl.readers import may_read, may_read_range

UNKNOWN = "0" * 64
LARGE = 256 * 2**20
CHUNKS = 64


@cache
def network() -> Ledger:
    """Registered SLs a to f."""
    ledger = Ledger()
    for uid in "abcdef":
        ledger.join(uid)
    return ledger


def certificate(uid: str) -> str:
    return network().actors[uid].signer.thumbprint


def world(*plays: Play) -> Chain:
    """These trainings of nodes a to f."""
    chain = network().chain
    trainings = {f"training/{number}": play.state for number, play in enumerate(plays)}
    return replace(chain, world=chain.world.with_entries(trainings))


def readers(state: Chain, uid: str, digest: str) -> str:
    """Those of a to f who get this model from `uid`."""
    return "".join(reader for reader in "abcdef" if may_read(state, uid, certificate(reader), digest))


@pytest.fixture
def first() -> Play:
    """Nodes a, b and c: round 0 is over, a has submitted for round 1."""
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a")
    return play


def test_the_members_of_its_training_may_read_a_result(first: Play) -> None:
    state = world(first, Play("d", "e"))
    assert readers(state, "a", merged(0)) == "abc"
    assert not may_read(state, "a", "0" * 64, merged(0))


def test_only_the_leader_may_read_what_one_site_has_contributed(first: Play) -> None:
    assert first.leader == "b"
    assert readers(world(first, Play("d", "e")), "a", model("a", 1)) == "b"


def test_whoever_takes_over_from_a_leader_may_read_in_its_place(first: Play) -> None:
    first.set_attendance("b", "lost")
    assert first.leader not in ("b", "")
    assert readers(world(first), "a", model("a", 1)) == first.leader


def test_a_model_that_came_late_is_for_the_leader_too(first: Play) -> None:
    first.submit("b")
    first.freeze()
    first.submit("c")
    assert readers(world(first), "c", model("c", 1)) == "b"


def test_nobody_may_read_what_was_contributed_to_a_round_that_is_over(first: Play) -> None:
    assert readers(world(first), "b", model("b", 0)) == ""


def test_the_base_of_the_round_in_progress_is_for_all_members(first: Play) -> None:
    assert first.round.base == merged(0)
    assert readers(world(first), "c", first.round.base) == "abc"


def test_the_change_to_what_was_merged_is_for_members_while_the_result_stands(first: Play) -> None:
    first.state = msgspec.structs.replace(first.state, change="c" * 64)
    assert readers(world(first, Play("d", "e")), "a", "c" * 64) == "abc"
    assert readers(world(first), "d", "c" * 64) == ""
    first.state = msgspec.structs.replace(first.state, change="")
    assert readers(world(first), "a", "c" * 64) == ""


def test_a_member_whose_certificate_is_revoked_gets_no_model_any_more(first: Play) -> None:
    state = world(first)
    stored = state.world.get(f"certificate/{certificate('b')}", Certificate)
    assert stored is not None
    revoked = msgspec.structs.replace(stored, revoked=True)
    state = replace(state, world=state.world.with_entries({f"certificate/{stored.thumbprint}": revoked}))
    assert readers(state, "a", merged(0)) == "ac"


def test_a_node_in_two_trainings_keeps_their_models_apart(first: Play) -> None:
    second = Play("a", "d", "e")
    second.complete_round("a", "d", "e")
    second.state = msgspec.structs.replace(second.state, name="second")
    own = msgspec.structs.replace(second.result, digest=UNKNOWN)
    second.state = msgspec.structs.replace(second.state, result=own)
    state = world(first, second)
    assert readers(state, "a", model("a", 1)) == "b"
    assert readers(state, "a", UNKNOWN) == "ade"


def test_a_model_that_no_training_names_is_served_to_nobody(first: Play) -> None:
    state = world(first, Play("d", "e"), Play("c", "f"))
    assert readers(state, "a", UNKNOWN) == ""
    assert readers(state, "c", UNKNOWN) == ""


def test_a_node_without_a_training_serves_no_models(first: Play) -> None:
    assert readers(world(first), "f", merged(0)) == ""
    assert readers(world(), "a", merged(0)) == ""


# --- rounds merged in slices ------------------------------------------------------------------------------------------


@pytest.fixture
def cut() -> Play:
    """Four sites: round 0 is frozen and cut; who merges which slice follows from their names."""
    return sliced(Play("a", "b", "c", "d"))


def sliced(play: Play) -> Play:
    """The same with all models in, which are large."""
    for uid in sorted(play.state.members):
        play.submit(uid, size=LARGE)
        play.state = follow(play.state, play.clock)
    assert play.frozen
    assert play.state.slicings
    return play


def chunks(play: Play, reader: str, uid: str) -> list[int]:
    """The chunks of the model of `uid`, of 16, that this reader gets one by one."""
    state, digest = world(play), model(uid, 0)
    return [at for at in range(16) if may_read_range(state, uid, certificate(reader), digest, at, at + 1, 16)]


def test_each_merger_reads_its_slices_of_the_models_of_others_and_nobody_a_whole_one(cut: Play) -> None:
    state = world(cut)
    assert [chunks(cut, reader, "a") for reader in "abcd"] == [[*range(at, at + 4)] for at in (0, 4, 8, 12)]
    assert [chunks(cut, reader, "a") for reader in "ef"] == [[], []]
    assert readers(state, "a", model("a", 0)) == "", "not even the leader"
    assert may_read_range(state, "a", certificate("b"), model("a", 0), 4, 8, 16)
    assert not may_read_range(state, "a", certificate("b"), model("a", 0), 4, 9, 16)
    assert not may_read_range(state, "a", certificate("b"), model("b", 0), 4, 8, 16), "a has not contributed that"


def test_what_is_merged_of_slices_and_of_their_changes_is_for_members(cut: Play) -> None:
    (slicing,) = cut.state.slicings
    for name in (slicing.recipe, change_name(slicing.recipe)):
        assert readers(world(cut), "a", name) == "abcd"
    assert readers(world(cut), "a", change_name(UNKNOWN)) == ""


@pytest.mark.parametrize(("start", "stop", "count"), [(-1, 4, 16), (5, 4, 16), (4, 17, 16), (0, 1, 0)])
def test_a_range_that_a_model_does_not_have_is_for_nobody(cut: Play, start: int, stop: int, count: int) -> None:
    assert not may_read_range(world(cut), "a", certificate("a"), model("a", 0), start, stop, count)


def test_header_and_digests_are_for_whoever_reads_a_part(cut: Play) -> None:
    state = world(cut)
    found = [uid for uid in "abcdef" if may_read_range(state, "a", certificate(uid), model("a", 0), 0, 0, 16)]
    assert found == ["a", "b", "c", "d"]


def test_whoever_takes_a_slice_over_reads_it_and_whoever_had_it_reads_it_still(cut: Play) -> None:
    cut.set_attendance("d", "lost")
    cut.state = follow(cut.state, cut.clock)
    got = {reader: chunks(cut, reader, "a") for reader in "abc"}
    assert sorted(chunk for each in got.values() for chunk in each) == [*range(16)], "each by one more member"
    assert all(len(each) < 16 for each in got.values())
    assert chunks(cut, "d", "a") == [12, 13, 14, 15]


def test_nobody_reads_a_model_of_a_round_to_be_merged_in_slices_before_it_is_cut() -> None:
    play = Play("a", "b", "c", "d")
    play.submit("a", size=LARGE)
    play.state = follow(play.state, play.clock)
    assert not play.frozen
    assert readers(world(play), "a", model("a", 0)) == ""
    assert chunks(play, play.leader, "a") == []


def test_nobody_reads_a_model_that_came_late_or_is_left_out(cut: Play) -> None:
    late = Play("a", "b", "c", "d", "e")
    for uid in "abcd":
        late.submit(uid, size=LARGE)
        late.state = follow(late.state, late.clock)
    late.freeze()
    late.state = follow(late.state, late.clock)
    late.submit("e", size=LARGE)
    assert [chunks(late, reader, "e") for reader in "abcde"] == [[]] * 5
    (slicing,) = cut.state.slicings
    excluded = (Exclusion("a", "non-finite", ""),)
    cut.state = msgspec.structs.replace(cut.state, slicings=(msgspec.structs.replace(slicing, excluded=excluded),))
    assert [chunks(cut, reader, "a") for reader in "abcd"] == [[]] * 4
    assert chunks(cut, "b", "c") == [4, 5, 6, 7]


def test_slices_of_a_standing_result_are_read_until_all_have_it(cut: Play) -> None:
    cut.publish()
    cut.state = follow(cut.state, cut.clock)
    assert chunks(cut, "b", "a") == [4, 5, 6, 7]
    assert readers(world(cut), "a", merged(0)) == "abcd"
    cut.report("a", "b", "c", "d")
    cut.state = follow(cut.state, cut.clock)
    assert cut.state.slicings == ()
    assert chunks(cut, "b", "a") == []


def test_a_leader_that_calls_the_model_of_one_site_the_result_does_not_open_it(cut: Play) -> None:
    cut.publish(result=model("b", 0))
    cut.state = follow(cut.state, cut.clock)
    state = world(cut)
    assert readers(state, "b", model("b", 0)) == ""
    assert readers(state, "a", model("b", 0)) == "abcd", "who has not contributed it holds it as the result, if at all"
    assert chunks(cut, "d", "b") == [12, 13, 14, 15]


def test_without_slices_ranges_are_read_as_whole_models(first: Play) -> None:
    state = world(first)
    for reader in "abcdef":
        for digest in (model("a", 1), merged(0)):
            whole = may_read(state, "a", certificate(reader), digest)
            assert may_read_range(state, "a", certificate(reader), digest, 3, 5, 16) == whole


# --- checks -----------------------------------------------------------------------------------------------------------


def standing() -> InSlices:
    """Four sites hold the result of round 0, which was merged in slices."""
    play = frozen()
    publish_and_hold(play)
    play.report()
    assert not play.state.slicings
    return play


def read_by(play: InSlices, reader: str, uid: str = "a") -> set[int]:
    """The chunks that this reader gets of the model that `uid` has contributed to round 0."""
    chain, digest = play.ledger.chain, model(uid, 0)
    own = play.ledger.actors[reader].signer.thumbprint
    return {at for at in range(CHUNKS) if may_read_range(chain, uid, own, digest, at, at + 1, CHUNKS)}


def test_whoever_has_said_that_it_checks_reads_its_part_of_contributions_and_no_more_until_the_next_are_fixed() -> None:
    play = standing()
    assert not any(read_by(play, reader) for reader in "abcd")
    result = play.result.digest
    play.send("b", Check(0, result))
    assert play.state.checks is not None
    parts = play.state.checks.parts_of("b")
    part = {chunk for each in parts for chunk in chunks_between(each.start, each.stop, CHUNKS)}
    assert len(part) == CHUNKS // 4
    assert read_by(play, "b") == part
    assert not any(read_by(play, reader) for reader in "acd")
    thumbprint = play.ledger.actors["b"].signer.thumbprint
    assert may_read_range(play.ledger.chain, "a", thumbprint, model("a", 0), 0, 0, CHUNKS), "header and digests"
    assert not may_read(play.ledger.chain, "a", thumbprint, model("a", 0))
    assert not may_read_range(play.ledger.chain, "c", thumbprint, model("a", 0), 0, 0, CHUNKS), "c has not given that"
    assert may_read(play.ledger.chain, "a", thumbprint, result)
    play.submit()
    assert read_by(play, "b") == set()


def test_while_slices_are_merged_again_whoever_checks_reads_both() -> None:
    play = frozen()
    publish_and_hold(play)
    before = read_by(play, "b")
    play.send("b", Check(0, play.result.digest))
    assert before < read_by(play, "b")
    assert len(read_by(play, "b")) == CHUNKS // 2
