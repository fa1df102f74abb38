"""What a node states of its rounds, up to the explanation that a person reads."""

import msgspec

from fuzz.target import Target
from support.play import Play
from swarmlearning.ledger.chain import Chain
from swarmlearning.views.evidence import Account, Evidence
from swarmlearning.views.explain import explain_closed, explain_now
from swarmlearning.views.explaintext import headline, notes, remedy, share_text, site_text
from swarmlearning.views.timeline import Moments
from swarmlearning.views.times import RoundTimes, Script, Span, Times

_PLAY = Play("a", "b", "c")
_PLAY.complete_round("a", "b", "c")
_PLAY.submit("b")
_OPEN = Moments(0, {"b": 5}, [(0, "a")])
_CLOSED = Moments(0, {"a": 5, "b": 3, "c": 8}, [(0, "b"), (20, "a")], 8, 42)
_SPANS = (Span("train", -5, 9), Span("fetch", 3, None, "c", 7, "unreachable", True), Span("merge", 9, 12))


def _read_times(data: bytes) -> None:
    account = Account(msgspec.json.decode(data, type=Times))
    accounts = dict.fromkeys("abc", account)
    world = Chain().world
    for found in (
        explain_now(Evidence(world, _PLAY.state, _OPEN, 100_000, accounts)),
        explain_closed(Evidence(world, _PLAY.state, _CLOSED, 100_000, accounts), 0),
    ):
        shown = [headline(found), remedy(found), *notes(found)]
        shown += [*map(share_text, found.shares), *map(site_text, found.sites)]
        assert all(text.isprintable() and len(text) < 2000 for text in shown)
        assert 0 <= sum(each.share for each in found.shares) < 1.01
        msgspec.json.encode(found)


TARGETS = (
    Target(
        "a node's times",
        _read_times,
        (msgspec.DecodeError, UnicodeDecodeError, RecursionError),  # as `operator/explaining.py` takes them
        (
            msgspec.json.encode(Times(99, RoundTimes("contract", 1, 1, 0, _SPANS), Script(3, 4, 5, 0.5))),
            msgspec.json.encode(Times(99, None, None, (RoundTimes("contract", 1, 0, 0, _SPANS, ended=41),))),
        ),
    ),
)
