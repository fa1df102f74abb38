"""What an SN tells of nodes and what nodes tell of themselves, up to the screen on which a person sees it."""

import msgspec
from rich.cells import cell_len

from fuzz.target import Target
from support.manysites import NOW_MS, status
from swarmlearning.api.answers import Status
from swarmlearning.cli.checking import verdict
from swarmlearning.cli.watch.drawing import ASCII
from swarmlearning.cli.watch.screen import Size, lines
from swarmlearning.cli.watch.showing import essence, snapshot
from swarmlearning.operator.asking import Seen
from swarmlearning.views.alerts import Alert
from swarmlearning.views.vitals import Vitals, read_vitals

_DISK = Alert("disk", "warning", "SL site-1", "SL site-1 has no disk", "make room", ("site-1",), NOW_MS)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""As `SnClient` takes them: the SN has given no answer."""


def _read_status(data: bytes) -> None:
    found = msgspec.to_builtins(msgspec.json.decode(data, type=Status))
    seen = Seen(found, "127.0.0.1:1", 0.0, (NOW_MS, "gone"))
    shown = [line.plain for line in lines(seen, Size(80, 24), NOW_MS, ASCII)]
    shown += [line.plain for line in snapshot(seen, NOW_MS, ASCII)]
    assert all(line.isprintable() for line in shown)
    assert max(map(cell_len, shown[:24])) <= 80 or len(shown) < 24
    essence(seen)
    assert verdict(found, NOW_MS).text


def _read_heartbeat(data: bytes) -> None:
    vitals = read_vitals(msgspec.json.decode(data))
    assert vitals is None or msgspec.convert(msgspec.to_builtins(vitals), Vitals) == vitals


TARGETS = (
    Target(
        "an SN's status",
        _read_status,
        _UNREADABLE,
        (
            msgspec.json.encode(status(3, 1, 1, _DISK)),
            msgspec.json.encode(status(1) | {"alerts": None, "alarms": ["no way"]}),
        ),
    ),
    Target("a node's vitals", _read_heartbeat, _UNREADABLE, (msgspec.json.encode(Vitals(1, 2, 3, 4, -5, 6, 7, "8")),)),
)
