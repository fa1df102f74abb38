"""Functions as commands: options declared once as a dataclass, and errors as one clear message."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from swarmlearning.cli.command import command, fail
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import UnsupportedRulesError


@dataclass(frozen=True)
class Inner:
    """Options within options."""

    color: Annotated[str, typer.Option(help="A color.")] = "red"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Options of a shape."""

    size: Annotated[int, typer.Option(help="Its size.")]
    paint: Inner
    filled: bool = False


def invoked(function: Callable[..., None], *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(function)
    return CliRunner().invoke(app, arguments)


@command("draw")
def draw(name: Annotated[str, typer.Argument()], *, first: int = 1, shape: Shape, last: int = 2) -> None:
    """Draw."""
    print(name, first, shape, last)


def test_the_options_of_a_dataclass_reach_the_command_as_one_value() -> None:
    shape = Shape(size=3, paint=Inner("blue"), filled=True)
    result = invoked(draw, "x", "--size", "3", "--color", "blue", "--filled", "--last", "5")
    assert result.stdout == f"x 1 {shape} 5\n"


def test_options_of_a_dataclass_keep_their_defaults() -> None:
    assert invoked(draw, "x", "--size", "3").stdout == f"x 1 {Shape(size=3, paint=Inner())} 2\n"


def test_an_option_of_a_dataclass_without_a_default_is_required() -> None:
    result = invoked(draw, "x")
    assert result.exit_code == 2
    assert "--size" in result.output


def test_options_of_a_dataclass_are_listed_in_the_place_of_their_parameter() -> None:
    text = invoked(draw, "--help").stdout
    places = [text.index(option) for option in ("--first", "--size", "--color", "--filled", "--last")]
    assert places == sorted(places)


def test_an_error_that_the_user_can_mend_is_one_message_and_status_1() -> None:
    @command("draw")
    def failing() -> None:
        raise ExceptionGroup("several", [UserError("no pencil\x1b[2J")])

    result = invoked(failing)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("draw: no pencil")
    assert "\x1b" not in result.stderr


def test_any_other_error_is_a_fault_of_the_program_and_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        fail("draw", ZeroDivisionError())


def test_a_command_may_choose_its_exit_status() -> None:
    @command("draw")
    def ending() -> None:
        raise typer.Exit(3)

    assert invoked(ending).exit_code == 3


def test_a_node_that_meets_rules_which_it_does_not_know_ends_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit):
        fail("swarm sn", ExceptionGroup("tasks", [UnsupportedRulesError("the network uses rules version 2")]))
    assert capsys.readouterr().err == "swarm sn: the network uses rules version 2\n"
