"""One round machine states its site's link, limited by its operator, and lets others have the time that theirs need."""

import pytest

from support.play import Play, model
from support.roundnode import Node, joined, leading, served
from support.slicing import LARGE, opened
from swarmlearning.ledger.bodies import StateLink
from swarmlearning.ledger.contracts.training.slicing import state_link
from swarmlearning.rounds.events import Action, Fetched, Send
from swarmlearning.rounds.linking import BY_ITS_WORD
from swarmlearning.rounds.settings import LEAST_SECONDS, SLOW_RATE, TOO_SLOW
from swarmlearning.rounds.slices import LinkMeasured, MergeSlice

MB = 1_000_000


def state(play: Play, uid: str, up: int, down: int) -> None:
    """The member has stated its link."""
    play.state = state_link(play.state, StateLink(up, down), uid)


def stated(node: Node, up: int, down: int, limits: tuple[int | None, int | None] = (None, None)) -> list[StateLink]:
    """What the node states once its link was measured so; the next block has it."""
    actions: list[Action] = node.handle(LinkMeasured(up, down, True, limits))
    bodies = [action.body for action in actions if isinstance(action, Send) and isinstance(action.body, StateLink)]
    for body in bodies:
        node.accept(body)
        state(node.play, node.uid, body.up, body.down)
        node.advance()
    return bodies


@pytest.fixture
def node() -> Node:
    return joined("b", "a", "b")


def test_a_link_is_stated_anew_when_it_is_a_fifth_faster_or_slower(node: Node) -> None:
    assert stated(node, 0, 0) == []
    assert stated(node, 10 * MB, 20 * MB) == [StateLink(10 * MB, 20 * MB)]
    assert stated(node, 9 * MB, 23 * MB) == []
    assert stated(node, 8 * MB, 23 * MB) == [StateLink(8 * MB, 23 * MB)]


def test_a_limit_is_stated_however_little_lower_it_is_than_what_was_stated(node: Node) -> None:
    assert stated(node, 10 * MB, 10 * MB, (0, None)) == [StateLink(10 * MB, 10 * MB)]
    assert stated(node, 9 * MB, 10 * MB, (9 * MB, None)) == [StateLink(9 * MB, 10 * MB)]
    assert stated(node, 8 * MB, 9 * MB, (9 * MB, None)) == [], "it is slower than the limit, but not by much"
    assert stated(node, 1_234_567, 10 * MB, (1_234_567, None)) == [StateLink(1_200_000, 10 * MB)]
    assert stated(node, 1_234_567, 10 * MB, (1_234_567, None)) == [], "two digits are stated of it"


def test_the_end_of_a_limit_is_stated_also_where_the_link_is_not_known_without(node: Node) -> None:
    assert stated(node, MB, MB, (MB, None)) == [StateLink(MB, MB)]
    assert stated(node, 0, 0, (0, None)) == [StateLink(0, MB)]
    assert stated(node, 0, 0, (0, None)) == []
    assert stated(node, 10 * MB, 0, (0, None)) == [StateLink(10 * MB, MB)]


def test_a_contributor_has_three_times_as_long_as_its_link_needs_before_it_is_left_out() -> None:
    """Its operator limits it, as it has said: 60 MB take a minute, and the others 10 s."""
    node = leading("b", "c")
    state(node.play, "c", MB, 8 * MB)
    node.play.submit("b", "c", size=60 * MB)
    node.advance()
    node.now = 10.0
    node.handle(Fetched(model("b", 0)))
    assert node.seconds("slow") == [180.0 - 10.0]


@pytest.mark.parametrize(
    ("speed", "seconds"), [(0, LEAST_SECONDS), (100 * MB, LEAST_SECONDS), (1, BY_ITS_WORD * LEAST_SECONDS)]
)
def test_nobody_gets_more_than_ten_times_as_long_as_others_by_its_own_word(speed: int, seconds: float) -> None:
    node = leading("b", "c")
    state(node.play, "c", speed, speed)
    node.play.submit("b", "c", size=60 * MB)
    node.advance()
    node.handle(Fetched(model("b", 0)))
    assert node.seconds("slow") == [seconds]


def test_a_result_may_need_as_long_as_a_limited_link_of_ones_own_needs() -> None:
    """Those before it took moments."""
    node = served("b", "a", "b")
    node.machine._results._seconds.extend([1.0, 1.0, 1.0])
    results = node.machine._results
    assert results._limit() == 30.0
    state(node.play, "b", MB, SLOW_RATE)
    node.advance()
    results._facts.own_size = 10 * SLOW_RATE
    assert results._limit() == 100.0


def test_a_site_that_states_an_absurdly_slow_link_lengthens_deadlines_ten_times_at_most() -> None:
    """It could hold up each round for hours otherwise: at 64 KiB/s such a model takes more than one."""
    play = opened()
    for uid in play.sites:
        play.link(uid, 100_000_000)
    play.link("d", 1)
    play.submit()
    honest = next(uid for uid in play.others("d") if play.of(uid))
    merging = Node(play, honest, [model(honest, 0)]).advance()  # type: ignore[arg-type]
    seconds = {action.seconds for action in merging if isinstance(action, MergeSlice)}
    assert seconds == {TOO_SLOW * LARGE / 10_000_000}
