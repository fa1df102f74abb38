"""What a site that nobody can connect to pushes of its model, and to whom: by the ledger alone."""

from cryptography.hazmat.primitives.serialization import Encoding

from support.play import model
from support.slicing import InSlices, opened, publish_and_hold
from swarmlearning.ledger.bodies import Announce, Revoke, Weigh
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.weighing import WHOLE
from swarmlearning.models.pushes import Pushable
from swarmlearning.sl.pushed import fault_of_merger, is_behind, pushable, pusher_of, to_push
from swarmlearning.tensors.digest import LEAST_CHUNK, ModelDigest

HIDDEN = "d"
RELAY = "198.18.0.1:30308"
HEADER = 64
INFO = ModelDigest(HEADER + 1024 * LEAST_CHUNK, (), HEADER)
ALL = set(range(INFO.layout.count))


def hidden(*, slices: bool = True, method: str = "mean") -> InSlices:
    """Round 0 of four sites is frozen; others reach one of them through a relay alone, and it merges nothing."""
    play = opened(size=INFO.size if slices else 1000, merge_method=method)
    play.size = INFO.size if slices else 1000
    play.send(HIDDEN, Announce({"fs": RELAY, "relay": RELAY}), network.CONTRACT)
    play.link(HIDDEN, merges=False)
    play.submit()
    assert play.is_sliced is slices
    return play


def may(play: InSlices, to: str, by: str = HIDDEN, of: str = HIDDEN) -> set[int]:
    """The chunks of a site's model that `by` may push to `to`."""
    found = asked(play, to, by, of)
    return set() if found is None else set(found.chunks)


def asked(play: InSlices, to: str, by: str = HIDDEN, of: str = HIDDEN, *, knows: bool = True) -> Pushable | None:
    thumbprint = play.ledger.actors[by].signer.thumbprint
    layout = INFO.layout if knows else None
    return pushable(play.ledger.chain, to, thumbprint, model(of, 0), lambda state, current: layout)


def pushes(play: InSlices, uid: str = HIDDEN) -> dict[str, int]:
    """How many units the site is to push to whom."""
    found = to_push(play.state, uid)
    assert {digest for _, digest in found} <= {model(uid, 0)}
    return {merger: sum(map(len, units)) for (merger, _), units in found.items()}


def test_each_merger_is_given_its_slices_and_all_together_the_whole_model() -> None:
    play = hidden()
    assert is_behind(play.ledger.chain.world, HIDDEN)
    assert not is_behind(play.ledger.chain.world, "a")
    parts = {uid: may(play, uid) for uid in "abc"}
    assert set().union(*parts.values()) == ALL
    assert sum(map(len, parts.values())) == len(ALL), "no two get the same"
    assert may(play, HIDDEN) == set()
    assert pushes(play).keys() == set("abc")
    assert sum(pushes(play).values()) == 4096


def test_nobody_pushes_what_is_not_its_own_or_to_whom_it_is_not_for() -> None:
    play = hidden()
    assert may(play, "a", by="b", of="b") == set(), "others can fetch from it"
    assert may(play, "a", by="b") == set()
    assert may(play, "a", of="b") == set()
    thumbprint = play.ledger.actors[HIDDEN].signer.thumbprint
    assert pushable(play.ledger.chain, "a", thumbprint, "0" * 64, lambda state, current: INFO.layout) is None
    assert pushable(play.ledger.chain, "a", "0" * 64, model(HIDDEN, 0), lambda state, current: INFO.layout) is None
    assert pushable(play.ledger.chain, "sn-1", thumbprint, model(HIDDEN, 0), lambda state, current: INFO.layout) is None
    assert asked(play, "a", knows=False) is None, "a node that does not know how models are cut takes nothing"


def test_a_site_that_is_shut_out_pushes_nothing() -> None:
    play = hidden()
    play.send("op-1", Revoke(play.ledger.actors[HIDDEN].signer.thumbprint), network.CONTRACT)
    assert may(play, "a") == may(play, "b") == set()


def test_nothing_is_pushed_before_the_contributors_are_fixed() -> None:
    play = opened(size=INFO.size)
    play.size = INFO.size
    play.send(HIDDEN, Announce({"fs": RELAY, "relay": RELAY}), network.CONTRACT)
    play.submit(HIDDEN, "a", "b")
    assert not play.is_sliced
    assert pushes(play) == {}
    assert all(may(play, uid) == set() for uid in "abc")


def test_what_is_merged_is_pushed_no_more_and_what_is_given_to_another_goes_there() -> None:
    play = hidden()
    merger = next(uid for uid in play.others(play.leader, HIDDEN))
    first, second, *_ = play.of(merger)
    before = pushes(play)[merger]
    play.merge(first)
    assert pushes(play)[merger] == before - play.slice(first).units
    play.reassign(second)
    successor = play.slice(second).merger
    assert successor not in (merger, HIDDEN)
    chunks = {1 + chunk for chunk in play.slice(second).chunks_of(INFO.layout.count - 1)}
    assert chunks <= may(play, successor)
    assert chunks.isdisjoint(may(play, merger))
    assert pushes(play)[merger] == before - play.slice(first).units - play.slice(second).units


def test_by_the_geometric_median_mergers_may_have_the_same_chunks_to_survey_them_and_to_merge_them() -> None:
    play = hidden(method="geomedian")
    assert play.slicing.survey == 1
    wanted, chunks = pushes(play), {uid: may(play, uid) for uid in "abc"}
    assert sum(wanted.values()) == 4096
    assert set().union(*chunks.values()) == ALL
    play.merge()  # all slices have been surveyed
    assert pushes(play) == {}
    shares = (WHOLE // 2, WHOLE // 4, WHOLE // 8, WHOLE // 8)
    play.send(play.leader, Weigh(play.round.number, play.round.term, play.slicing.recipe, shares))
    assert play.slicing.survey == 0
    assert pushes(play) == wanted, "a merger that has lost them meanwhile gets them again"
    assert {uid: may(play, uid) for uid in "abc"} == chunks


def test_a_site_that_is_left_out_pushes_nothing_more() -> None:
    play = hidden()
    for uid in play.others(HIDDEN)[:2]:
        play.fault(play.of(uid)[0], HIDDEN)
    assert [each.uid for each in play.slicing.excluded] == [HIDDEN]
    assert pushes(play) == {}
    assert may(play, "a") == set()


def test_what_is_lost_after_the_result_stands_is_pushed_again() -> None:
    play = hidden()
    publish_and_hold(play)
    assert pushes(play) == {}
    play.lose(*[uid for uid in "abc" if uid != play.result.closed.leader][:1])
    lost = [each for each in play.slicing.slices if not each.root]
    assert bool(pushes(play)) == bool(lost)


def test_the_leader_of_a_round_that_is_not_cut_is_given_the_whole_model() -> None:
    play = hidden(slices=False)
    assert pushes(play) == {play.leader: 4096}
    assert may(play, play.leader) == ALL
    assert [uid for uid in "abc" if may(play, uid)] == [play.leader]
    assert pushes(play, play.leader) == {}
    chain, other = play.ledger.chain, play.others(play.leader, HIDDEN)[0]
    assert pusher_of(chain, play.state, play.leader, model(HIDDEN, 0)) == HIDDEN
    assert pusher_of(chain, play.state, play.leader, "0" * 64) == ""
    assert pusher_of(chain, play.state, other, model(HIDDEN, 0)) == ""


def test_who_shows_another_certificate_than_the_merger_gets_nothing() -> None:
    play = hidden()
    chain = play.ledger.chain
    shown = play.ledger.actors["a"].pair.certificate
    der = shown.public_bytes(Encoding.DER)
    assert fault_of_merger(chain, "a", der) == ""
    assert "is not the node" in fault_of_merger(chain, "b", der)
    assert "is not the node" in fault_of_merger(chain, "a", b"")
    play.send("op-1", Revoke(play.ledger.actors["a"].signer.thumbprint), network.CONTRACT)
    assert "is not the node" in fault_of_merger(play.ledger.chain, "a", der)
