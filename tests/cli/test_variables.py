"""The variables that users of the original know: each is read by its node, or `--help` says that it has no effect."""

import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

from support.certs import make_workspace
from swarmlearning.cli.main import COMMANDS, app
from swarmlearning.cli.nodecommands import environment
from swarmlearning.cli.options import Credentials, LicenseOptions, MetricsOptions, NodeProcess
from swarmlearning.cli.sl import MLOptions, SlOptions, SlProcess, TrackingOptions
from swarmlearning.cli.sn import SnOptions
from swarmlearning.client.environment import LOOPBACK
from swarmlearning.errors import UserError
from swarmlearning.identity.spiffe import SOCKET_VARIABLE
from swarmlearning.models.bandwidth import MBIT, caps_of
from swarmlearning.node import settings
from swarmlearning.node.settings import SlEnvironment
from swarmlearning.node.variables import VARIABLES, Kind, Variable, help_text, log_without_effect

DOCUMENTED = Path(__file__).parents[1] / "data" / "scripts" / "variables.txt"
MANUAL = Path(__file__).parents[2] / "docs" / "variables.md"
IDENTITY = {
    *("SWARM_ID_CACERT", "SWARM_ID_CAPATH", "SWARM_ID_CERT", "SWARM_ID_KEY", "SWARM_ID_KEY_PASSPHRASE_FILE"),
    SOCKET_VARIABLE,
}
"""Read by `IdentityFiles` and `Credentials`: tests/identity/test_identity.py, tests/cli/test_credentials.py."""
OF_CONTAINERS = {"SWOP_KEEP_CONTAINERS", "SWOP_UID", "SWOP_GID"}
"""Read by `DockerSettings.read`: tests/swop/docker."""

SETTINGS = {
    name.upper()
    for found in vars(settings).values()
    if isinstance(found, type) and issubclass(found, BaseSettings)
    for name in found.model_fields
}
OF_COMMANDS = [
    (kind, variable)
    for variable in VARIABLES
    for kind in variable.kinds
    if kind in COMMANDS and not variable.without_effect
]


def read_by_options(kind: Kind) -> set[str]:
    """The variables of the options of a command."""
    command: Any = app_command(kind)
    given = [option.envvar for option in command.params if option.envvar]
    return {name for names in given for name in ([names] if isinstance(names, str) else names)}


def app_command(kind: str) -> Any:

    group: Any = typer.main.get_command(app)
    return group.commands[kind]


def test_every_documented_variable_is_in_the_table() -> None:
    assert {variable.name for variable in VARIABLES} >= set(DOCUMENTED.read_text().split())


def test_the_document_for_operators_has_every_variable() -> None:
    section = MANUAL.read_text().partition("# Variables\n")[2]
    expected = {each.name.removesuffix("_PROXY") for each in VARIABLES}
    assert {name for name in expected if name not in section and name not in ("HTTP", "HTTPS", "NO")} == set()


@pytest.mark.parametrize(("kind", "variable"), OF_COMMANDS, ids=lambda value: getattr(value, "name", value))
def test_a_variable_with_an_effect_is_read(kind: Kind, variable: Variable) -> None:
    proxies = {"http_proxy", "https_proxy", "no_proxy"}  # read by `proxies`, and inherited by what a SWOP starts
    assert (
        variable.name in read_by_options(kind)
        or variable.name in SETTINGS | IDENTITY | OF_CONTAINERS
        or variable.name.lower() in proxies
    )


def test_the_training_scripts_variable() -> None:
    assert [variable.name for variable in VARIABLES if "ml" in variable.kinds] == [LOOPBACK]


@pytest.mark.parametrize("kind", [kind for kind in ("sn", "sl", "swop", "swci") if kind in COMMANDS])
def test_help_names_those_without_effect(kind: Kind) -> None:
    shown = CliRunner().invoke(app, [kind, "--help"], env={"COLUMNS": "200"}).output
    words = set(re.findall(r"\w+", shown))
    expected = {variable.name for variable in VARIABLES if kind in variable.kinds and variable.without_effect}
    assert expected <= words
    assert expected
    assert help_text(kind).startswith("Accepted from the environment, without effect: ")


@pytest.mark.parametrize(
    ("kind", "name", "value", "parameter", "expected"),
    [
        ("sn", "THIS_NODE_IP", "10.0.0.1", "host_ip", "10.0.0.1"),
        ("sn", "SN_I_AM_SENTINEL", "1", "sentinel", True),
        ("sn", "SN_I_AM_SENTINEL", "True", "sentinel", True),
        ("sn", "SN_I_AM_SENTINEL", "False", "sentinel", False),
        ("sn", "SENTINEL_NODE_IP", "10.0.0.2", "sentinel_ip", "10.0.0.2"),
        ("sn", "SENTINEL_API_SERVER_PORT", "1", "sentinel_api_port", 1),
        ("sn", "SENTINEL_API_SERVICE", "api.sn", "sentinel_api_service", "api.sn"),
        ("sn", "SN_API_SERVER_PORT", "2", "sn_api_port", 2),
        ("sn", "SN_API_SERVICE", "api.sn", "sn_api_service", "api.sn"),
        ("sn", "SN_ETH_PORT_EXT", "3", "sn_p2p_port", 3),
        ("sn", "SN_ETH_P2P_SERVICE", "p2p.sn", "sn_p2p_service", "p2p.sn"),
        ("sn", "SN_JOIN_PORT", "4", "sn_join_port", 4),
        ("sn", "SN_JOIN_SERVICE", "join.sn", "sn_join_service", "join.sn"),
        ("sl", "THIS_NODE_IP", "10.0.0.1", "host_ip", "10.0.0.1"),
        ("sl", "SN_NODE_IP", "10.0.0.2", "sn_ip", "10.0.0.2"),
        ("sl", "SN_API_SERVER_PORT", "4", "sn_api_port", 4),
        ("sl", "SN_API_SERVICE", "api.sn", "sn_api_service", "api.sn"),
        ("sl", "SL_FS_PORT", "5", "sl_fs_port", 5),
        ("sl", "SL_FS_SERVICE", "fs.sl", "sl_fs_service", "fs.sl"),
        ("sl", "SL_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("sl", "SL_LOG_LEVEL", "", "log_level", "INFO"),
        *(
            (kind, f"SWARM_LICENSE_AUTOPASSJ_SERVER_{name}", value, parameter, expected)
            for kind in ("sn", "sl", "swop", "swci")
            for name, value, parameter, expected in (
                ("PRIMARY_IP", "10.0.0.9", "apls_ip", "10.0.0.9"),
                ("PRIMARY_PORT", "6", "apls_port", 6),
                ("PRIMARY_PORT", "", "apls_port", 5814),
                ("SECONDARY_IP", "10.0.0.8", "secondary_apls_ip", "10.0.0.8"),
                ("SECONDARY_PORT", "7", "secondary_apls_port", 7),
            )
        ),
        ("swop", "SWOP_PROFILE", "profile.yaml", "profile_file_name", "profile.yaml"),
        ("swop", "SN_NODE_IP", "10.0.0.2", "sn_ip", "10.0.0.2"),
        ("swop", "SN_API_SERVER_PORT", "4", "sn_api_port", 4),
        ("swop", "SN_API_SERVICE", "api.sn", "sn_api_service", "api.sn"),
    ],
)
def test_a_variable_stands_for_its_option(
    kind: str, name: str, value: str, parameter: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    context = app_command(kind).make_context(kind, [], resilient_parsing=False)
    assert context.params[parameter] == expected


def test_an_option_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THIS_NODE_IP", "10.0.0.1")
    context = app_command("sl").make_context("sl", ["--host-ip", "10.0.0.2"])
    assert context.params["host_ip"] == "10.0.0.2"


@pytest.mark.parametrize(("text", "limits"), [("", (0, 0)), ("10/50", (10 * MBIT, 50 * MBIT))])
def test_an_sl_is_limited_by_its_variable_which_may_be_empty(
    monkeypatch: pytest.MonkeyPatch, text: str, limits: tuple[int, int]
) -> None:
    monkeypatch.setenv("SL_MAX_MBIT", text)
    context = app_command("sl").make_context("sl", [])
    assert caps_of(context.params["max_mbit"]).ever == limits


def test_an_sl_with_a_limit_that_is_none_does_not_start(tmp_path: Path) -> None:
    identity = make_workspace(tmp_path, ["SL-1"])["SL-1"]
    sl = _sl(tmp_path, max_mbit="20Mbit")
    with pytest.raises(UserError, match="--max-mbit: '20Mbit' is not a bandwidth limit; give '20', '10/50'"):
        sl.settings(identity, SlEnvironment(), [])
    assert _sl(tmp_path, max_mbit="20").settings(identity, SlEnvironment(), []).caps.ever == (20 * MBIT, 20 * MBIT)


def _sl(folder: Path, **options: Any) -> SlOptions:
    return SlOptions(
        host_ip="10.0.0.1",
        sn_ip="10.0.0.2",
        data_dir=folder,
        credentials=Credentials(),
        license=LicenseOptions(),
        metrics=MetricsOptions(),
        ml=MLOptions(),
        tracking=TrackingOptions(),
        process=SlProcess(),
        **options,
    )


def test_a_port_published_as_another_one_is_announced_as_that(tmp_path: Path) -> None:
    """In images: they listen on the default ports, whatever ports of the host are published as these."""
    identity = make_workspace(tmp_path, ["SN-1"])["SN-1"]
    common: dict[str, Any] = {
        "host_ip": "10.0.0.1",
        "data_dir": tmp_path,
        "credentials": Credentials(),
        "license": LicenseOptions(),
        "metrics": MetricsOptions(),
    }
    sn = SnOptions(**common, sn_p2p_port=16303, p2p_listen_port=30303, process=NodeProcess())
    sl = _sl(tmp_path, sl_fs_port=16000, fs_listen_port=30305)
    as_sn, as_sl = sn.settings(identity), sl.settings(identity, SlEnvironment(), [])
    assert (as_sn.p2p_port, as_sn.p2p_service) == (30303, "10.0.0.1:16303")
    assert (as_sl.fs_port, as_sl.fs_service) == (30305, "10.0.0.1:16000")


def test_those_without_effect_are_logged_by_name_only(caplog: pytest.LogCaptureFixture) -> None:
    given = {
        "LOGS_DIR": "/var/log/secret",
        "http_proxy": "http://user:secret@proxy",
        "SN_START_MINING": "",
    }
    with caplog.at_level(logging.INFO):
        log_without_effect("sn", given)
    assert caplog.messages == [
        "LOGS_DIR is set and has no effect: logs go to standard output",
    ]


def test_nodes_that_a_run_starts_inherit_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SN_API_SERVICE", "SENTINEL_NODE_IP", "SL_FS_PORT", "SL_FS_LISTEN_PORT", "SWARM_ID_CERT"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SL_MAKE_ME_ADMIN", "False")
    inherited = environment(os.environ)
    assert not inherited.keys() & {"SN_API_SERVICE", "SENTINEL_NODE_IP", "SL_FS_PORT", "SL_FS_LISTEN_PORT"}
    assert "SWARM_ID_CERT" not in inherited
    assert inherited["SL_MAKE_ME_ADMIN"] == "False"
