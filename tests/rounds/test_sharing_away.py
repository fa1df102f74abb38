"""One round machine whose node was cut off as a round that is merged in slices came to its end."""

from rounds.test_sharing import Sharer
from support.slicing import frozen, publish_and_hold
from swarmlearning.rounds.events import Fetch, Fetched


def test_a_node_that_was_away_goes_on_with_the_slices_that_it_has() -> None:
    """By then all others have the result, and its slices are not on the ledger any more."""
    play = frozen("a", "b", "c", "d")
    node = Sharer(play, "d")
    recipe = node.recipe
    play.merge(*play.of("a"))
    node.advance()
    node.fetches()
    play.lose("d")
    publish_and_hold(play)
    play.report(*play.others("d"))
    play.back("d")
    assert not play.state.slicings
    (fetch,) = [action for action in node.advance() if isinstance(action, Fetch)]
    assert (fetch.digest, fetch.begun) == (play.result.digest, recipe)
    assert recipe in node.kept
    node.handle(Fetched(play.result.digest))
    assert recipe not in node.kept
