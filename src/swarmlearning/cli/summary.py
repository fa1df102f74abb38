"""A report as tables for the terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmlearning.cli.report import Report, RoundReport

SHOWN_ROUNDS = 40
SHOWN_DIGITS = 16

LEGEND = {
    "◆": "led and contributed",
    "◇": "led",
    "●": "contributed",
    "l": "late",
    "x": "excluded",
    "-": "lost",
    "·": "absent",
}


def summary(report: Report) -> RenderableType:
    """How a run went: its status, who took part in which round, and the final model each site holds."""
    verified = "ledger verified" if report.ledger_verified else "LEDGER NOT VERIFIED"
    reached = "" if report.swarm_accuracy is None else f"; accuracy {100 * report.swarm_accuracy:.1f} %"
    head = Text(f"{report.status}; {verified}{reached}", style="bold" if report.ledger_verified else "bold red")
    parts: list[RenderableType] = [head]
    if report.rounds:
        parts += ["", participation(report)]
    return Group(*parts)


def participation(report: Report) -> RenderableType:
    """A line a site, a character a round (the newest `SHOWN_ROUNDS`), and the digest of the model it holds."""
    shown = report.rounds[-SHOWN_ROUNDS:]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column(f"rounds {shown[0].number} to {shown[-1].number}", overflow="fold")
    table.add_column("took part", no_wrap=True)
    table.add_column("final model", no_wrap=True, min_width=SHOWN_DIGITS)
    used: set[str] = set()
    for name, digest in report.digests.items():
        marks = [_mark(each, name) for each in shown]
        used.update(marks)
        took_part = sum(name in each.contributors for each in report.rounds)
        model = digest[:SHOWN_DIGITS] if digest else "none"
        table.add_row(name, Text("".join(marks)), f"{took_part}/{len(report.rounds)}", model)
    legend = "   ".join(f"{mark} {meaning}" for mark, meaning in LEGEND.items() if mark in used)
    return Group(table, Text(legend, style="dim"))


def accuracies(rows: Sequence[tuple[str, int, float | None]]) -> RenderableType:
    """A line for each (who, samples trained on, accuracy)."""
    table = Table("", "samples", "accuracy", box=None, pad_edge=False, header_style="dim")
    table.columns[1].justify = table.columns[2].justify = "right"
    for who, samples, accuracy in rows:
        table.add_row(who, str(samples), "?" if accuracy is None else f"{100 * accuracy:.1f} %")
    return table


def _mark(each: RoundReport, name: str) -> str:
    contributed, led = name in each.contributors, name == each.leader
    if led:
        return "◆" if contributed else "◇"
    if contributed:
        return "●"
    if name in each.late:
        return "l"
    if name in each.lost:
        return "-"
    return "x" if name in each.excluded else "·"
