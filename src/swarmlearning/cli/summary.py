"""A report as tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmlearning.cli.console import shows
from swarmlearning.cli.report import Report
from swarmlearning.views.names import escaped
from swarmlearning.views.render import mean_text
from swarmlearning.views.report import Part, RoundReport

SHOWN_ROUNDS = 40
SHOWN_DIGITS = 16

MARKS: dict[Part, str] = {
    "led and contributed": "◆#",
    "led": "◇+",
    "contributed": "●o",
    "repeated": "○r",
    "late": "ll",
    "excluded": "xx",
    "lost": "--",
    "absent": "·.",
}
"""For each part in a round its mark, and the one for terminals that show ASCII only."""


def summary(report: Report, console: Console) -> RenderableType:
    """The status of a run, who took part in which round, and the final model each site holds."""
    verified = "ledger verified" if report.ledger_verified else "LEDGER NOT VERIFIED"
    reached = "" if report.swarm_accuracy is None else f"; accuracy {100 * report.swarm_accuracy:.1f} %"
    head = Text(
        f"{escaped(report.status)}; {verified}{reached}", style="bold" if report.ledger_verified else "bold red"
    )
    parts: list[RenderableType] = [head]
    if report.best is not None:
        parts.append(Text(f"best {mean_text(report.best)}"))
    if report.rounds:
        parts += ["", participation(report.rounds, report.digests, console)]
    return Group(*parts)


def participation(rounds: Sequence[RoundReport], digests: Mapping[str, str | None], console: Console) -> RenderableType:
    """A line a site, a character a round (the newest `SHOWN_ROUNDS`), and the digest of the model it holds."""
    shown = rounds[-SHOWN_ROUNDS:]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column(f"rounds {shown[0].number} to {shown[-1].number}", overflow="fold")
    table.add_column("took part", no_wrap=True)
    table.add_column("final model", no_wrap=True, min_width=SHOWN_DIGITS)
    used: set[Part] = set()
    plain = not shows(console, "".join(MARKS.values()))
    mark = {part: both[plain] for part, both in MARKS.items()}
    for name, digest in digests.items():
        parts = [each.part(name) for each in shown]
        used.update(parts)
        took_part = sum(name in each.contributors for each in rounds)
        repeated = sum(name in each.repeated for each in rounds)
        count = f"{took_part}/{len(rounds)}" + (f", {repeated} repeated" if repeated else "")
        model = digest[:SHOWN_DIGITS] if digest else "none"
        table.add_row(Text(name), Text("".join(mark[part] for part in parts)), count, model)
    legend = "   ".join(f"{mark[part]} {part}" for part in MARKS if part in used)
    return Group(table, Text(legend, style="dim"))


def accuracies(rows: Sequence[tuple[str, int, float | None]]) -> RenderableType:
    """A line for each (who, samples trained on, accuracy)."""
    table = Table("", "samples", "accuracy", box=None, pad_edge=False, header_style="dim")
    table.columns[1].justify = table.columns[2].justify = "right"
    for who, samples, accuracy in rows:
        table.add_row(who, str(samples), "?" if accuracy is None else f"{100 * accuracy:.1f} %")
    return table
