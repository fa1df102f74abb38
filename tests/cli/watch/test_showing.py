"""What is seen, shown: as a dashboard in a terminal, as a snapshot for each change elsewhere."""

import io
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from rich.console import Console

from support.manysites import NOW_MS, status
from swarmlearning.api.client import Unavailable
from swarmlearning.cli.watch.showing import essence, watch
from swarmlearning.operator.asking import Seen
from swarmlearning.views.alerts import Alert

DISK = Alert("disk", "warning", "SL site-1", "SL site-1 has no disk", "make room", ("site-1",))
OUTAGE = (NOW_MS, "SN 10.1.1.1:30304 cannot be reached: Connection refused")
WELL, WORSE = Seen(status(2), "10.1.1.1:30304"), Seen(status(2, 0, 0, DISK), "10.1.1.1:30304")


async def states(*seen: Seen) -> AsyncGenerator[Seen, None]:
    for each in seen:
        yield each


def fuller(found: dict[str, Any]) -> dict[str, Any]:
    """The same network with other figures of its machines."""
    nodes = [node | {"vitals": node["vitals"] | {"disk_free": 10**11}, "progress": 99} for node in found["nodes"]]
    return found | {"nodes": nodes, "height": 4712}


async def shown(*seen: Seen, terminal: bool = False, encoding: str = "utf-8") -> str:
    bytes_ = io.BytesIO()
    file = io.TextIOWrapper(bytes_, encoding, errors="backslashreplace")
    console = Console(
        file=file,
        force_terminal=terminal,
        width=80,
        height=24,
        markup=False,
        highlight=False,
        _environ={"TERM": "xterm"},  # a terminal that can clear its screen, whatever the tests are run from
    )
    await watch(console, states(*seen))
    file.flush()
    return bytes_.getvalue().decode()


async def test_without_a_terminal_each_change_is_a_snapshot_and_figures_are_none() -> None:
    printed = await shown(WELL, Seen(fuller(status(2)), WELL.address), WORSE, WORSE, Seen(*WORSE_GONE), WELL)
    snapshots = [each.splitlines() for each in printed.split("\n\n") if each.strip()]
    assert [lines[0].split("  ")[1] for lines in snapshots] == ["all is well", "1 WARNING", "1 WARNING", "all is well"]
    assert "WARNING SL site-1 has no disk" in snapshots[1]
    assert snapshots[2][1].startswith("NO SN ANSWERS since 2026-11-18 11:06:40Z; what follows was so before. SN 10.1")
    assert "\x1b" not in printed


WORSE_GONE = (WORSE.found, WORSE.address, 0.0, OUTAGE)


@pytest.mark.parametrize(
    "other",
    [
        Seen(status(2, 1), WELL.address),
        Seen(status(3), WELL.address),
        WORSE,
        Seen(WELL.found, WELL.address, 0.0, OUTAGE),
        Seen(status(2) | {"trainings": []}, WELL.address),
        Seen(status(2) | {"sns": [sn | {"present": False} for sn in status(2)["sns"]]}, WELL.address),
    ],
    ids=["lost", "joined", "alert", "outage", "training", "sn"],
)
def test_what_makes_a_change(other: Seen) -> None:
    assert essence(other) != essence(WELL)


async def test_a_terminal_has_one_screen_that_is_given_back() -> None:
    printed = await shown(WELL, WORSE, terminal=True)
    assert printed.startswith("\x1b[?1049h")
    assert printed.endswith("\x1b[?25h\x1b[?1049l")
    assert "asking the SN ..." in printed


async def test_a_terminal_that_lacks_the_characters_gets_others() -> None:
    assert (await shown(WORSE, encoding="ascii")).isascii()


async def test_what_ends_the_asking_ends_the_showing() -> None:
    async def failing() -> AsyncGenerator[Seen, None]:
        yield WELL
        raise Unavailable("no SN")

    with pytest.raises(Unavailable, match="no SN"):
        await watch(Console(file=io.StringIO()), failing())
