"""The terminal, whatever its encoding, and what hostile names do to it."""

import io
import json
from contextlib import redirect_stdout
from typing import Any, Self

import pytest
from rich.console import Console

from swarmlearning.cli import status
from swarmlearning.cli.checking import CRITICAL, verdict
from swarmlearning.cli.console import (
    make_console,
    make_table,
    print_json,
    print_table,
    shows,
    tolerate_any_encoding,
    working,
)

HOSTILE = [
    "[/]",
    "[bold red]not red[/bold red]",
    "[link=file:///etc/passwd]here[/link]",
    ":skull:",
    "a\u202eb",
    "\x1b[31mred",
    "[" * 100,
    "\\[x]",
]


class Terminal:
    """Standard output with the encoding ISO-8859-1, inside the block."""

    def __enter__(self) -> Self:
        self._raw = io.BytesIO()
        self._redirection = redirect_stdout(io.TextIOWrapper(self._raw, encoding="iso-8859-1", write_through=True))
        self._redirection.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._redirection.__exit__(None, None, None)

    @property
    def shown(self) -> str:
        return self._raw.getvalue().decode("iso-8859-1")


def test_a_character_that_an_encoding_lacks_is_escaped_and_never_an_error() -> None:
    with Terminal() as terminal:
        tolerate_any_encoding()
        print("round ● is über", "caf\udce9")
        make_console().print("● Universität")
        assert terminal.shown.splitlines() == ["round \\u25cf is über caf\\udce9", "\\u25cf Universität"]


def test_a_console_knows_which_marks_its_encoding_has() -> None:
    with Terminal():
        assert shows(make_console(), "ü")
        assert not shows(make_console(), "◆")


def test_a_table_has_one_line_a_row_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(("contract", "given"), [("c" * 100, "nothing (budget)"), ("d", "e" * 70)])
    assert capsys.readouterr().out.splitlines()[1].split() == ["c" * 100, "nothing", "(budget)"]
    monkeypatch.setenv("COLUMNS", "80")
    print_table(("contract", "given"), [("c" * 100, "nothing (budget)")])
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


def test_json_is_ascii_in_every_encoding() -> None:
    with Terminal() as terminal:
        print_json({"name": "Москва"})
        assert terminal.shown.isascii()
        assert json.loads(terminal.shown) == {"name": "Москва"}


def test_work_in_progress_is_one_line_without_a_terminal() -> None:
    with Terminal() as terminal:
        with working(make_console(), "training alone"):
            pass
        assert terminal.shown == "training alone\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_console_prints_brackets_and_colons_as_they_are(name: str) -> None:
    with Terminal() as terminal:
        plain = name.encode("ascii", "ignore").decode().replace("\x1b", "")
        make_console().print(plain, soft_wrap=True)
        assert terminal.shown == plain + "\n"


def hostile_status(name: str) -> dict[str, Any]:
    node = {"uid": name, "type": name, "name": name, "incarnation": 1, "state": name, "alive": True, "left": False}
    sn = {
        "uid": name,
        "name": name,
        "part": name,
        "founder": True,
        "witness": False,
        "height": 1,
        "lag": 0,
        "present": True,
    }
    return {
        "network": name,
        "network_id": name,
        "height": 1,
        "fault_tolerance": name,
        "majority": True,
        "ordering": "etcd",
        "alarms": [name],
        "recoveries": [{"height": 1, "by": name, "lost": [name]}],
        "expiries": [{"of": name, "expires_ms": 0}],
        "sns": [{**sn, "height": 1, "lag": 0, "present": True}],
        "nodes": [{**node, "addresses": {name: name}, "training": None}],
        "trainings": [{"name": name, "rounds": 1, "text": name}],
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_neither_break_nor_style_the_status(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    with Terminal() as terminal:
        status.show(hostile_status(name))
        assert "\x1b" not in terminal.shown
        assert name.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")[:60] in terminal.shown


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_alerts_and_vitals_neither_break_nor_style_the_status(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    found = hostile_status(name)
    (node,) = found["nodes"]
    alerts = [
        {"code": name, "severity": level, "subject": name, "text": name, "remedy": name, "nodes": [name]}
        | {"since_ms": 2**53 - 1}
        for level in ("info", "critical", name)
    ]
    vitals = {"disk_free": 2**53 - 1, "memory_free": 0, "version": name}
    with Terminal() as terminal:
        status.show({**found, "alerts": alerts, "nodes": [{**node, "vitals": vitals, "expires_ms": -(2**53) + 1}]})
        assert "\x1b" not in terminal.shown
        lines = [line for line in terminal.shown.splitlines() if line.startswith(("ALARM", "WARNING"))]
        assert [line.split(" ", 1)[0] for line in lines] == ["ALARM", "WARNING"]
    assert verdict({**found, "alerts": alerts}, 0).code == CRITICAL


def test_the_status_names_swops_whose_scripts_run_as_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = hostile_status("x")
    (node,) = found["nodes"]
    own = [{**node, "type": "SWOP", "name": f"SWOP-{n}", "same_user": n == 1} for n in (1, 2)]
    with Terminal() as terminal:
        status.show({**found, "nodes": own})
        said = [line for line in terminal.shown.splitlines() if "as its own user" in line]
    assert said == ["SWOP SWOP-1 runs ML processes as its own user: they can read its files"]


def test_a_narrow_table_wraps_and_cuts_nothing_off() -> None:
    table = make_table("name", "thumbprint")
    table.add_row("a name", "0123456789" * 10)
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert sum(text.count(digit) for digit in "0123456789") == 100


def test_a_console_on_a_terminal_has_styles() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", markup=False)
    console.print("dim", style="dim")
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[2m" in console.file.getvalue()
