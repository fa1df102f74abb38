"""The commands of `swarm` that the scripts run on a host without a container runtime."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from swarmlearning.cli.main import app
from swarmscripts import sl, slmui, sn, swci, swop
from swarmscripts.common import COMMON
from swarmscripts.script import Script

BIN = Path(__file__).parents[2] / "scripts" / "bin"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with files to name, and a program `swarm` that prints its arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "swarm").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\necho "variable $A"\npwd\n')
    (tmp_path / "bin" / "swarm").chmod(0o755)
    (tmp_path / "usr").mkdir()
    for name in ("usr/profile.yaml", "usr/init", "cert.pem"):
        (tmp_path / name).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
    return tmp_path


def run(home: Path, script: str, line: str) -> list[str]:
    """The lines that the program prints in place of the node."""
    variables = {"SWARM_RUNTIME": "process", "XDG_STATE_HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, BIN / script, *line.split()],
        cwd=home,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("script", "line", "expected"),
    [
        (
            "run-sn",
            "--host-ip h --sentinel --sn-api-port=1 --cert cert.pem -v HOME/usr:/platform/swarm/SMLNODE --more",
            "sn --sentinel --host-ip h --sn-api-port 1 --cert HOME/cert.pem --node-name sn --data-dir HOME/usr --more",
        ),
        (
            "run-swop",
            "--name swop1 --usr-dir usr --profile-file-name profile.yaml --sn-ip s",
            "swop --usr-dir HOME/usr --profile-file-name profile.yaml --sn-ip s --node-name swop1 "
            "--data-dir HOME/swarmlearning/scripts/swop1/data",
        ),
        (
            "run-sl",
            "--sn-ip s --relay --max-mbit 5@08:00-18:00,50 --privacy-policy cert.pem",
            "sl --sn-ip s --max-mbit 5@08:00-18:00,50 --relay --privacy-policy HOME/cert.pem --node-name sl "
            "--data-dir HOME/swarmlearning/scripts/sl/data --bridge",
        ),
        (
            "run-sn",
            "--host-ip h --sentinel-ip s --sn-relay-port 30308 --sn-relay-service relay.sn --socket-path HOME/agent",
            "sn --host-ip h --sentinel-ip s --sn-relay-port 30308 --sn-relay-service relay.sn "
            "--socket-path HOME/agent --node-name sn --data-dir HOME/swarmlearning/scripts/sn/data",
        ),
        (
            "run-swop",
            "--usr-dir usr --profile-file-name profile.yaml --sn-ip s --host-ip h --witness-cert cert.pem "
            "--witness-key cert.pem --witness-p2p-port 7",
            "swop --usr-dir HOME/usr --profile-file-name profile.yaml --host-ip h --sn-ip s --witness-p2p-port 7 "
            "--witness-cert HOME/cert.pem --witness-key HOME/cert.pem --node-name swop "
            "--data-dir HOME/swarmlearning/scripts/swop/data",
        ),
        (
            "run-slm-ui",
            "-l HOME/logs -pu cert.pem -pr cert.pem --sn-ip s -pw secret",
            "ui --host 0.0.0.0 --port 443 --http-redirect-port 80 --https-cert HOME/cert.pem --https-key HOME/cert.pem "
            "--sn-ip s --log-dir HOME/logs --data-dir HOME/swarmlearning/scripts/ui/data",
        ),
        (
            "run-slm-ui",
            "--name slm --cert cert.pem --https-port 8443 --http-port 0 --host 10.0.0.1 --behind-proxy 10.0.0.2 "
            "--apls-ip l -v HOME/usr:/platform/swarm/SMLNODE",
            "ui --host 10.0.0.1 --port 8443 --behind-proxy 10.0.0.2 --log-dir HOME/logs --cert HOME/cert.pem "
            "--data-dir HOME/usr",
        ),
        (
            "run-swci",
            "--usr-dir usr --init-script-name init",
            "swci --usr-dir HOME/usr --init-script-name init",
        ),
    ],
)
def test_a_node_as_a_process(home: Path, script: str, line: str, expected: str) -> None:
    words = run(home, script, f"{line.replace('HOME', str(home))} -e A=B")

    assert words == [*expected.replace("HOME", str(home)).split(), "variable B", str(home)]
    kind = words[0]
    commands: object = typer.main.get_command(app)
    known = {name for option in commands.commands[kind].params for name in option.opts}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("--") and word != "--more"} <= known


NOT_NAMED = {
    "sn": {
        "bind-ip",
        "network-id",
        "network-name",
        "node-name",
        "ordering",
        "organisations",
        "p2p-listen-port",
        "witness",
    },
    "sl": {
        *("bind-ip", "bridge", "bridge-dir", "channel-dir", "fs-listen-port", "ml-group", "network-id", "node-name"),
        *("mlflow-uri", "tensorboard-dir"),
    },
    "swop": {"network-id", "node-name", "policy-file"},
    "swci": {"bind-ip", "network-id"},
    "ui": {"bundle", "http", "http-redirect-port", "network-id", "port", "public-port"},
}
"""Options of `swarm` that the scripts set themselves, or that go to it as they are."""


@pytest.mark.parametrize("script", [sn.SN, sl.script(), swop.SWOP, swci.SWCI, slmui.SLM_UI], ids=lambda each: each.name)
def test_the_options_of_a_node_are_those_of_its_script(script: Script) -> None:
    commands: object = typer.main.get_command(app)
    params = commands.commands[script.kind].params  # type: ignore[attr-defined]
    known = {option.opts[0].removeprefix("--") for option in params}
    named = {option.name for option in (*script.options, *COMMON)}
    everywhere = {"data-dir", "help", "log-level", "log-format", "log-dir", "log-files", "ready-fd"}
    everywhere |= {"vitals", "metrics-ip", "metrics-port"}
    assert known - named == NOT_NAMED[script.kind] | (known & everywhere)


def test_the_first_user_of_a_web_interface_comes_by_variables(home: Path) -> None:
    (home / "bin" / "swarm").write_text('#!/bin/sh\necho "$SLM_UI_ADMIN_USER $SLM_UI_ADMIN_PASSWORD_FILE"\n')
    line = "--cert cert.pem --admin-user anna --admin-password-file usr/init"
    assert run(home, "run-slm-ui", line) == [f"anna {home / 'usr' / 'init'}"]
