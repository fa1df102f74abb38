"""Nodes as they are to run on a host: words and scripts."""

import shlex
from typing import Any

import pytest

from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.nodes import NodeSpec, Runs, Wanted, run_script, unit_name, unit_properties

LAYOUT = Layout("/opt/swarm")


def words(spec: NodeSpec) -> list[str]:
    """The command in which the script of a node ends."""
    return shlex.split(run_script(LAYOUT, spec.runs(LAYOUT)).splitlines()[-1])


def test_an_sn_has_its_identity_and_data_in_its_own_folder() -> None:
    spec = NodeSpec(name="SN-1", options=(("host-ip", "10.0.0.1"),), flags=("sentinel",))
    assert words(spec) == [
        *("exec", "/opt/swarm/current/bin/swarm", "sn", "--sentinel"),
        *("--capath", "/opt/swarm/nodes/sn-1/cert/ca/capath", "--cert", "/opt/swarm/nodes/sn-1/cert/sn-1-cert.pem"),
        *("--key", "/opt/swarm/nodes/sn-1/cert/sn-1-key.pem", "--data-dir", "/opt/swarm/nodes/sn-1/data"),
        *("--host-ip", "10.0.0.1", "--ready-fd", "3"),
    ]


def test_an_sl_starts_its_training_whatever_its_words_are() -> None:
    training = ("python", "train.py", "--note", "it's $HOME; rm -rf /")
    spec = NodeSpec(name="SL-west", training=training, environment=(("MODEL_DIR", "a b"),))
    assert words(spec)[-7:] == ["--ready-fd", "3", "--", *training][-7:]
    script = run_script(LAYOUT, spec.runs(LAYOUT))
    assert "export MODEL_DIR='a b'" in script
    assert "cd /opt/swarm/nodes/sl-west/usr || exit 1" in script


def test_a_swop_finds_its_profile_in_its_folder_and_its_pairs_outlive_it() -> None:
    found = words(NodeSpec(name="SWOP-1", options=(("profile-file-name", "p.yaml"),)))
    assert found[found.index("--usr-dir") + 1] == "/opt/swarm/nodes/swop-1/usr"
    assert "KillMode=process" in unit_properties("swop")
    assert "KillMode=mixed" in unit_properties("sn")


def test_units_of_two_installations_have_names_of_their_own() -> None:
    assert unit_name(LAYOUT, "SN-1") != unit_name(Layout("/opt/other"), "SN-1")
    assert unit_name(LAYOUT, "SN-1").startswith("swarm-sn-1-")


def made(**fields: Any) -> tuple[Wanted, Runs]:
    spec = NodeSpec(**fields)
    return spec.wanted(LAYOUT), spec.runs(LAYOUT)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "1"}, "no name of a node"),
        ({"name": "SN-../x"}, "no name of a node"),
        ({"name": "UI-1"}, "no name of a node"),
        ({"name": "sn-1"}, "no name of a node"),
        ({"name": "SL-" + "x" * 80}, "no name of a node"),
        ({"options": (("key", "/x"),)}, "set by where the node lies"),
        ({"options": (("data-dir", "/x"),)}, "set by where the node lies"),
        ({"flags": ("--sentinel",)}, "no option"),
        ({"training": ("python", "x")}, "by an SL alone"),
        ({"environment": (("A-B", "x"),)}, "no name of a variable"),
        ({"options": (("host-ip", "a\0b"),)}, "NUL"),
        ({"files": (("../x", b""),)}, "no path below"),
        ({"files": (("/etc/x", b""),)}, "no path below"),
        ({"files": ((".ssh/x", b""),)}, "no path below"),
        ({"files": (("x", b"x" * (9 * 2**20)),)}, "are the most"),
        ({"files": tuple((f"f{number}", b"") for number in range(65))}, "64 at most"),
        ({"addresses": ("a.example",)}, "no IP address"),
    ],
)
def test_what_is_no_node(change: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        made(**{"name": "SN-1", **change})


def test_a_node_is_run_by_its_own_command_only() -> None:
    with pytest.raises(UserError, match="is run by `swarm sl`"):
        Runs(name="SL-1", words=("sn",), folder="/x")
    with pytest.raises(UserError, match="no name of a node"):
        Wanted(node="../SL-1", folder="/x")
