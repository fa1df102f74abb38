"""Command lines of the scripts, as words and what they mean."""

import pytest

from swarmscripts.dockeroptions import docker_options
from swarmscripts.errors import ScriptError
from swarmscripts.options import MAIN, Option, Table, parse

OWN = (Option("host-ip", "HOST"), Option("sentinel"), Option("detach", letter="d"))
TABLES = {MAIN: Table([*OWN, *docker_options()]), "ml": Table([Option("cmd", "WORDS"), *docker_options()])}

Pairs = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--host-ip 10.0.0.1", [("host-ip", "10.0.0.1")]),
        ("--host-ip=10.0.0.1", [("host-ip", "10.0.0.1")]),
        ("--HOST-IP=Name", [("host-ip", "Name")]),
        ("--host-ip=", [("host-ip", "")]),
        ("--host-ip --sentinel", [("host-ip", "--sentinel")]),
        ("--sentinel", [("sentinel", "true")]),
        ("--sentinel=1", [("sentinel", "true")]),
        ("--Sentinel=FALSE", [("sentinel", "false")]),
        ("-d", [("detach", "true")]),
        ("--d", [("detach", "true")]),
        ("--detach=true", [("detach", "true")]),
        ("-e A=B -e C", [("env", "A=B"), ("env", "C")]),
        ("-eA=B", [("env", "A=B")]),
        ("-e=A=B", [("env", "A=B")]),
        ("--env=A=B", [("env", "A=B")]),
        ("-it", [("interactive", "true"), ("tty", "true")]),
        ("-itv a:/b", [("interactive", "true"), ("tty", "true"), ("volume", "a:/b")]),
        ("-p8080:80", [("publish", "8080:80")]),
        ("-P", [("publish-all", "true")]),
        ("-h name", [("hostname", "name")]),
        ("--init --shm-size 1g", [("init", "true"), ("shm-size", "1g")]),
    ],
)
def test_options_of_the_main_container(line: str, expected: Pairs) -> None:
    given, rest = parse(line.split(), TABLES)

    assert [(option.name, value) for option, value in given[MAIN].values] == expected
    assert rest == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--ml-cmd x", [("cmd", "x")]),
        ("--ml-e A=B --ml-v=a:/b --ml-w /c", [("env", "A=B"), ("volume", "a:/b"), ("workdir", "/c")]),
        ("--ml-it", [("interactive", "true"), ("tty", "true")]),
        ("--ML-GPUS all", [("gpus", "all")]),
        ("--ml-privileged", [("privileged", "true")]),
    ],
)
def test_options_of_a_sidecar(line: str, expected: Pairs) -> None:
    given, rest = parse(line.split(), TABLES)

    assert [(option.name, value) for option, value in given["ml"].values] == expected
    assert given[MAIN].values == []
    assert rest == []


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("word --host-ip a other", ["word", "other"]),
        ("--unknown --host-ip a", ["--unknown"]),
        ("--ml-unknown=3", ["--ml-unknown=3"]),
        ("-Z", ["-Z"]),
        ("-", ["-"]),
        ("--host-ip a -- --sentinel -e A=B", ["--sentinel", "-e", "A=B"]),
    ],
)
def test_other_words_are_for_the_command(line: str, rest: list[str]) -> None:
    assert parse(line.split(), TABLES)[1] == rest


@pytest.mark.parametrize("line", ["--host-ip", "--sentinel -e", "--ml-cmd"])
def test_a_missing_argument_is_named(line: str) -> None:
    with pytest.raises(ScriptError, match=f"^{line.split()[-1]}: missing argument$"):
        parse(line.split(), TABLES)


def test_a_flag_is_true_or_false() -> None:
    with pytest.raises(ScriptError, match=r"^--sentinel=maybe: a flag takes =true or =false, not 'maybe'$"):
        parse(["--sentinel=maybe"], TABLES)
