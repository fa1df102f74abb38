"""Manifests for Kubernetes, compose and systemd: valid by their schemas or tools, and true to the images."""

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from typer.testing import CliRunner

import swarmlearning
from images import TARGETS
from support.tools import needs
from swarmlearning.cli.main import COMMANDS, app
from swarmlearning.node.variables import VARIABLES
from swarmlearning.swop.docker.specs import GROUP
from swarmscripts.containers import SHARED_GROUP

PACKAGING = Path(__file__).parents[2] / "packaging"
KUBERNETES = sorted((PACKAGING / "kubernetes").glob("*.yaml"))
UNITS = sorted((PACKAGING / "systemd").glob("*.service"))
OURS = {
    "SWARM_CHANNEL",
    "SWARM_DATA_DIR",
    "SWARM_START_SECONDS",
    "SL_CHANNEL_DIR",
    "SL_ML_GROUP",
    "SL_PRIVACY_POLICY",
    "SL_RELAY",
    "SLM_UI_ADMIN_PASSWORD_FILE",
    "SLM_UI_PUBLIC_PORT",
    "SN_RELAY_PORT",
    "POD_NAME",
    "MIN_PEERS",
    "SCRATCH_DIR",
}
"""Variables beside those of the original, and of the examples' scripts."""

Document = dict[str, Any]


def documents(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text()))


def containers(found: Any) -> list[Document]:
    """All containers in a manifest, wherever they are."""
    if isinstance(found, list):
        return [each for one in found for each in containers(one)]
    if not isinstance(found, dict):
        return []
    own = [found] if "image" in found else []
    return own + [each for one in found.values() for each in containers(one)]


KNOWN = {variable.name for variable in VARIABLES} | OURS
LICENSE_SERVER = "SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_IP"

COMPOSE: Document = yaml.safe_load((PACKAGING / "compose.yaml").read_text())
ALL = [each for path in KUBERNETES for each in containers(documents(path))] + containers(COMPOSE["services"])


def environment(container: Document) -> dict[str, Any]:
    given: Any = container.get("env") or container.get("environment") or {}
    return given if isinstance(given, dict) else {each["name"]: each.get("value") for each in given}


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_the_manifest(path: Path, version: str) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_there_are_three_sns_in_either() -> None:
    (sns,) = [each for each in documents(PACKAGING / "kubernetes" / "sn.yaml") if each["kind"] == "StatefulSet"]
    assert sns["spec"]["replicas"] == 3
    composed = [each for each in COMPOSE["services"].values() if each["image"].startswith("swarmlearning/sn:")]
    assert len(composed) == 3
    assert [environment(each).get("SN_I_AM_SENTINEL") for each in composed].count("true") == 1


@pytest.mark.parametrize("container", ALL, ids=lambda each: each["image"])
def test_images_have_the_version_of_the_product_and_variables_exist(container: Document) -> None:
    name, _, tag = container["image"].partition(":")
    assert name in {f"swarmlearning/{target}" for target in TARGETS}
    assert tag == swarmlearning.__version__
    assert environment(container).keys() <= KNOWN


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_variables_that_the_head_of_a_manifest_names_exist(path: Path) -> None:
    text = path.read_text()
    named = set(re.findall(r"--from-literal (\w+)=", text)) | set(re.findall(r"\((SL_\w+)=", text))
    assert named <= KNOWN
    nodes = {"sn.yaml": "swarm-sn", "pair.yaml": "swarm-sl"}
    assert [each.get("envFrom") for each in containers(documents(path)) if "envFrom" in each] == [
        [{"configMapRef": {"name": nodes[name], "optional": True}}] for name in nodes if name == path.name
    ]


def test_each_node_of_the_compose_file_is_told_of_relay_and_license_server_by_variables_that_may_be_empty() -> None:
    expected = {
        "sn": {LICENSE_SERVER: "${LICENSE_SERVER:-}", "SN_RELAY_PORT": "${SN_RELAY_PORT:-}"},
        "sl": {LICENSE_SERVER: "${LICENSE_SERVER:-}", "SL_RELAY": "${SL_RELAY:-}"},
        "swci": {LICENSE_SERVER: "${LICENSE_SERVER:-}"},
        "slm-ui": {LICENSE_SERVER: "${LICENSE_SERVER:-}"},
    }
    for service in COMPOSE["services"].values():
        kind = service["image"].partition(":")[0].rpartition("/")[2]
        assert environment(service).items() >= expected.get(kind, {}).items()
    empty = dict.fromkeys((LICENSE_SERVER, "SN_RELAY_PORT", "SL_RELAY"), "")
    for kind in ("sn", "sl", "swci"):
        with typer.main.get_command(app).make_context("swarm", [kind], resilient_parsing=True) as context:
            command = context.command.commands[kind]  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in empty.items():
                patch.setenv(name, value)
            with command.make_context(kind, []) as parsed:
                given = {name: parsed.params.get(name) for name in ("apls_ip", "sn_relay_port", "relay")}
        assert given == {"apls_ip": "", "sn_relay_port": None, "relay": None}


def test_volumes_and_networks_of_the_compose_file_are_declared() -> None:
    for service in COMPOSE["services"].values():
        named = {text.partition(":")[0] for text in service["volumes"]}
        assert {name for name in named if "/" not in name} <= COMPOSE["volumes"].keys()
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys()


def test_training_and_its_sl_share_both_folders_in_either() -> None:
    for number in (1, 2):
        volumes = [COMPOSE["services"][f"{kind}-{number}"]["volumes"] for kind in ("sl", "ml")]
        shared = [{text for text in each if text.endswith(("/channel", "/hpe-swarm"))} for each in volumes]
        assert shared[0] == shared[1]
        assert len(shared[0]) == 2
    (job,) = [each for each in documents(PACKAGING / "kubernetes" / "pair.yaml") if each["kind"] == "Job"]
    for container in job["spec"]["template"]["spec"]["containers"]:
        paths = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/tmp/channel", "/tmp/hpe-swarm"} <= paths


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    """The program is replaced by one that exists; one key is newer than the systemd of some hosts, which ignores it."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/swarmlearning/bin/swarm", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "Unknown key 'DelegateSubgroup'" not in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_that_is_reloaded_has_its_node_look_for_changed_certificates(unit: Path) -> None:
    assert re.findall(r"^ExecReload=(.*)$", unit.read_text(), re.MULTILINE) == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_exists(unit: Path) -> None:
    (started,) = re.findall(
        r"^ExecStart=/opt/swarmlearning/bin/swarm (\w+(?: serve)?) (.*)$", unit.read_text(), re.MULTILINE
    )
    command, words = started
    kind = command.split()[0]
    assert unit.name.startswith(f"swarm-{kind}")
    if kind in COMMANDS:
        shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).output
        assert set(re.findall(r"--[a-z-]{2,}", words)) <= set(re.findall(r"--[a-z-]{2,}", shown))


def test_the_group_of_the_images_is_the_one_that_scripts_and_swops_give() -> None:
    source = (PACKAGING / "images" / "Dockerfile").read_text()
    assert re.findall(r"groupadd --gid (\d+) swarm", source) == [SHARED_GROUP] == [str(GROUP)]
