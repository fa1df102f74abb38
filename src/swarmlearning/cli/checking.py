"""`swarm status --check`: one line and an exit code for a monitor, by the conventions of Nagios plugins."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand

from swarmlearning.cli.command import USAGE_ERROR
from swarmlearning.views.alerts import worst
from swarmlearning.views.names import displayed
from swarmlearning.views.told import LONGEST_LINE, alerts_of, counts

OK, WARNING, CRITICAL, UNKNOWN = range(4)
NAMES: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
CODES: Final = {"info": OK, "warning": WARNING, "critical": CRITICAL}
EARLIER: Final = "the SN is of an earlier release, which finds no alerts but alarms and certificates that expire"
NO_VOTE: Final = "this SN has no vote and does not know who is present; name a voter: --sn-ip"


class Verdict(NamedTuple):
    """The exit code, and the text: one line, then one for each further alert."""

    code: int
    text: str


def verdict(found: Mapping[str, Any], now_ms: int) -> Verdict:
    """What a monitor is told of a status."""
    severe = [each for each in alerts_of(found, now_ms) if each.severity != "info"]
    code = CODES[worst(severe)]
    if found["majority"] is False:
        code = CRITICAL
    elif found["majority"] is None and code != CRITICAL:
        return Verdict(UNKNOWN, _line(UNKNOWN, NO_VOTE, _data(found, now_ms)))
    more = f" (and {len(severe) - 1} more)" if len(severe) > 1 else ""
    first = f"{severe[0].text}{more}: {severe[0].remedy}".removesuffix(": ") if severe else _well(found)
    lines = [_line(code, first, _data(found, now_ms)), *(f"{each.severity}: {each}" for each in severe[1:])]
    return Verdict(code, "\n".join(lines + [EARLIER] * (found.get("alerts") is None)))


class CheckCommand(TyperCommand):
    """`swarm status`: with `--check`, options that cannot be used end with 3, since a monitor takes 2 for an alarm."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """See typer."""
        checks = "--check" in args
        try:
            return super().make_context(info_name, args, *more, **extra)
        except USAGE_ERROR as error:
            if not checks:
                raise
            found = unknown(str(error) or type(error).__name__)
            print(found.text)
            raise typer.Exit(found.code) from error


def unknown(reason: str) -> Verdict:
    """What it is told where there is no status."""
    return Verdict(UNKNOWN, _line(UNKNOWN, displayed(reason, LONGEST_LINE), ""))


def _line(code: int, text: str, data: str) -> str:
    """A `|` begins the figures, so there is none in the text."""
    return f"SWARM {NAMES[code]} - {text.replace('|', '/')}" + (f" | {data}" if data else "")


def _well(found: Mapping[str, Any]) -> str:
    kinds = [node["type"] for node in found["nodes"] if not node["left"]]
    rounds = sum(training["rounds"] for training in found["trainings"])
    counted = [(kinds.count("SN"), "SN"), (kinds.count("SL"), "SL"), (len(found["trainings"]), "training")]
    parts = ", ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in (*counted, (rounds, "round")))
    return f"network {displayed(found['network'])}: {parts}"


def _data(found: Mapping[str, Any], now_ms: int) -> str:
    there = sum(bool(node["alive"]) for node in found["nodes"])
    away = sum(not node["alive"] and not node["left"] for node in found["nodes"])
    number = counts(found, now_ms)
    rounds = sum(training["rounds"] for training in found["trainings"])
    return (
        f"critical={number['critical']} warning={number['warning']} alive={there} away={away} "
        f"height={max(0, found['height'])}c rounds={rounds}c"
    )
