"""One round machine in a training that others play by hand."""

from collections.abc import Iterable

from support.network import session
from support.play import Play, merged, model, receipt_of
from swarmlearning.ledger.bodies import (
    Exclusion,
    Lost,
    Missing,
    Publish,
    Submit,
    TrainingBody,
)
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    AnswerOpened,
    ChainAdvanced,
    Evaluated,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    Keep,
    Merge,
    Merged,
    ModelReceived,
    Refused,
    Send,
    SessionRequested,
    SetTimer,
    Timer,
    TimerFired,
)
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.views.render import waiting_text

SESSION = session()
LOADED = Evaluated(0.5, None, 1, 1)
SETTINGS = RoundSettings(make_me_admin=True, full_quorum_seconds=30.0, leader_failure_seconds=600.0, initial="merged")


class Node:
    """The machine of `uid` in a training that others play."""

    def __init__(self, play: Play, uid: str, held: Iterable[str] = ()) -> None:
        self.play = play
        self.uid = uid
        self.height = 0
        self.now = 0.0
        self.timers: list[SetTimer] = []
        self.machine = RoundMachine(uid, 1, play.state, SETTINGS, held)

    def handle(self, event: Event) -> list[Action]:
        """Returns what it decides, but for what is to be kept; timers go to `timers`."""
        actions = self.machine.handle(event, self.now)
        self.timers += [action for action in actions if isinstance(action, SetTimer)]
        return [action for action in actions if not isinstance(action, Keep | SetTimer)]

    def advance(self, leader_height: int = 0) -> list[Action]:
        """The chain has advanced to the present state; its leader's last transaction is at this height."""
        self.height += 1
        return self.handle(ChainAdvanced(self.play.state, self.height, leader_height))

    def fire(self, purpose: str, moved: int = 0) -> list[Action]:
        """The newest timer of this purpose is over."""
        return self.handle(TimerFired(self.started(purpose)[-1], moved))

    def started(self, purpose: str) -> list[Timer]:
        """Returns the timers of this purpose, the newest last."""
        return [each.timer for each in self.timers if each.timer.purpose == purpose]

    def seconds(self, purpose: str) -> list[float]:
        """Returns the times of these timers."""
        return [each.seconds for each in self.timers if each.timer.purpose == purpose]

    def accept(self, body: TrainingBody | Lost) -> list[Action]:
        """The next block has what it sent."""
        return self.handle(Accepted(body, self.height + 1))

    def refuse(self, body: TrainingBody | Lost, code: str) -> list[Action]:
        """The ledger refuses what it sent, on the state of the next block."""
        return self.handle(Refused(body, code, "the reason", self.height + 1))

    def hand_over(self, number: int = 0, closing: bool = False) -> list[Action]:
        """The ML process hands over its model for the round of this number."""
        return self.handle(ModelReceived(model(self.uid, number), 1, closing))


def waiting_of(node: Node) -> str:
    """Returns the text that its ML process is shown while it waits, empty while it does not."""
    return waiting_text(node.machine.waiting, {}) if node.machine.waiting else ""


def joined(uid: str, *members: str, min_peers: int = 2) -> Node:
    """The node has opened its session among these."""
    node = Node(Play(min_peers=min_peers), uid)
    node.handle(SessionRequested(SESSION))
    for member in members or ("a", "b"):
        node.play.open(member)
    node.accept(SESSION)
    assert node.advance() == [AnswerOpened()]
    return node


def submitted(uid: str, *members: str, min_peers: int = 2) -> Node:
    """It has submitted its model for round 0 too, as all others."""
    node = joined(uid, *members, min_peers=min_peers)
    (sent,) = [action for action in node.hand_over() if isinstance(action, Send)]
    node.accept(sent.body)
    node.play.submit(*node.play.state.members)
    return node


def served(uid: str, *members: str) -> Node:
    """It has loaded the result of round 0 and trains on, as all others."""
    node = submitted(uid, *members)
    node.play.publish()
    node.advance()
    node.handle(Fetched(merged(0)))
    (sent,) = [action for action in node.handle(LOADED) if isinstance(action, Send)]
    node.accept(sent.body)
    node.play.report(*node.play.state.members)
    node.advance()
    return node


def without_result(uid: str) -> Node:
    """It has reported that nobody serves the result of round 0, and has tried once more, in vain."""
    node = submitted(uid)
    node.play.publish()
    node.advance()
    assert node.handle(FetchFailed(merged(0), "refused")) == [Send(Missing(0))]
    node.accept(Missing(0))
    node.play.missing(uid)
    node.advance()
    assert node.fire("retry", moved=3) == [Fetch(merged(0), ("a",))]
    assert node.handle(FetchFailed(merged(0), "refused")) == []
    return node


def submit_of(uid: str, number: int, base: str = "") -> Submit:
    return Submit(number, base, "trained", model(uid, number), 1, 1)


def leading(*others: str) -> Node:
    """`a` leads round 0 and has submitted its own model; minPeers is 2."""
    node = joined("a", "a", *others)
    (sent,) = node.hand_over()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.submit("a")
    node.advance()
    return node


def merge_of(node: Node, *unusable: Exclusion, base: str = "") -> Merge:
    left_out = {part.uid for part in unusable}
    entries = tuple(entry for uid, entry in sorted(node.play.round.submissions.items()) if uid not in left_out)
    return Merge(node.play.round.number, node.play.round.term, base, entries, unusable, single=False)


def merged_by(node: Node, result: str = merged(0)) -> Merged:
    now = node.play.round
    without = {} if result else {"b": "unreachable"}
    return Merged(now.number, now.term, result, 1, receipt_of(now, without))  # type: ignore[arg-type]


def published_by(node: Node, result: str = merged(0)) -> Publish:
    done = merged_by(node, result)
    return Publish(done.round, done.term, done.result, done.size, done.receipt)
