"""`swarm verify-round`: has the SL on this host check its part of a round."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.console import print_json
from swarmlearning.node.errors import NodeError
from swarmlearning.views.checks import checks_text
from swarmlearning.views.names import escaped

if TYPE_CHECKING:
    from swarmlearning.sl.verifying import Outcome

WRONG: Final = 3
"""Exit status where bytes differ."""


@command("swarm verify-round")
def verify_round(
    data_dir: Annotated[Path, typer.Option(envvar="SWARM_DATA_DIR", help="The data directory of the SL.")],
    wait_for_next: Annotated[
        bool, typer.Option("--next", help="Wait for the next result that several sites have merged, and check that.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Merge this site's part of the latest round again and compare it with the result, while sites keep their models.

    Exit status 3 if bytes differ, 1 if the round cannot be checked.
    """
    from swarmlearning.sl.verifying import Asked, ask

    for answer in ask(data_dir.absolute(), Asked(wait_for_next)):
        if answer.failed:
            raise NodeError(answer.failed)
        if answer.outcome is not None:
            if as_json:
                print_json(answer.outcome)
            else:
                print(_text(answer.outcome))
            if answer.outcome.wrong or answer.outcome.all.wrong:
                raise typer.Exit(WRONG)
        elif not as_json:
            print(escaped(answer.say), flush=True)


def _text(found: "Outcome") -> str:
    """What this site has found, and all have."""
    runs = [f"{first} to {last}" if first < last else f"{first}" for first, last in found.chunks]
    part = f"chunks {', '.join(runs)} of {found.count}" if runs else "no whole chunk"
    what = "are not all right" if found.wrong else "are right"
    own = f"{part} {what}: {100 * found.share:.0f} % of round {found.round}"
    return f"{own[0].upper()}{own[1:]}\n{_sentence(checks_text(found.all, found.names))}"


def _sentence(text: str) -> str:
    return f"In all {text}" if text[0].isdigit() else f"{text[0].upper()}{text[1:]}"
