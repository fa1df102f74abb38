"""One node's facts: what counts as held where results have momenta, and what is found once for each state."""

from support.play import Play, merged
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer, Step
from swarmlearning.rounds.facts import RoundFacts

NESTEROV = OuterOptimizer("nesterov", "0.7", "0.9")
MOMENTUM = "e" * 64


def stepped() -> Play:
    """The result of round 1 stands, made by an outer step."""
    play = Play()
    for uid in ("a", "b"):
        play.open(uid, 1, outer=NESTEROV, checkin="inactive")
    for step in (None, Step("d" * 64, MOMENTUM)):
        play.submit("a", "b")
        play.publish(step=step)
        play.report("a", "b")
    return play


def test_a_result_counts_as_held_together_with_its_momentum_alone() -> None:
    facts = RoundFacts("b", 1, stepped().state, [merged(0), merged(1)])
    assert facts.held == {merged(0)}
    facts.fetched(merged(1))
    assert facts.held == {merged(0), merged(1), MOMENTUM}
    assert facts.drop(MOMENTUM) == {merged(1), MOMENTUM}
    assert facts.held == {merged(0)}


def test_what_follows_from_a_state_is_found_once_for_it_and_anew_for_the_next() -> None:
    play, asked = stepped(), []
    facts = RoundFacts("b", 1, play.state, [])

    def find() -> int:
        asked.append(facts.training)
        return len(asked)

    assert [facts.once("it", find), facts.once("it", find)] == [1, 1]
    facts.advance(play.state, 7, 7)
    assert facts.once("it", find) == 1
    play.submit("a")
    facts.advance(play.state, 8, 8)
    assert [facts.once("it", find), facts.once("it", find)] == [2, 2]
    assert facts.once("another", find) == 3
