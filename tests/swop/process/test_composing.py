"""Commands and environments of SL and script, as they are composed from profile, task and pair."""

from pathlib import Path

import pytest

from support.pairs import shell
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.managing import ManagerError, Pair
from swarmlearning.swop.process.composing import ml_part, mounts, sl_part, visible_gpus
from swarmlearning.swop.process.entering import Account, Part
from swarmlearning.swop.process.environments import Environment
from swarmlearning.swop.process.places import Places
from swarmlearning.swop.profile import ContainerOptions, IdentityFile, NodeDefinition
from swarmlearning.taskfiles.definition import SharedContent

PLACES = Places(Path("/site"))
OWN = PLACES.pair("key", 3)


def sl(node: NodeDefinition, contact: Contact, group: int | None = None) -> Part:
    given = Pair(node, shell(""), "", "the-uid", {"SL_LOG_LEVEL": "DEBUG", "SL_UID": "another"}, {})
    return sl_part(given, contact, PLACES, OWN, OWN.shared, {"SL_REQUEST_CHANNEL": "/r"}, group)


def options(part: Part) -> dict[str, str]:
    words = [word for word in part.command if word != "--bridge"]
    at = words.index("sl") + 1
    return dict(zip(words[at::2], words[at + 1 :: 2], strict=True))


def test_an_sl_is_led_to_the_network_and_serves_both_clients() -> None:
    locked = NodeDefinition(3, privacy_policy="/site/privacy/policy.yaml")
    part = sl(locked, Contact("10.0.0.5", network_id="f" * 64), 4711)
    assert "--bridge" in part.command
    assert options(part) == {
        "--host-ip": "10.0.0.5",
        "--sl-fs-port": "30308",  # of the fourth node
        "--data-dir": "/site/attempts/key/3/data",
        "--channel-dir": "/site/attempts/key/3/shared",
        "--bridge-dir": "/site/attempts/key/3/shared",
        "--network-id": "f" * 64,
        "--ml-group": "4711",
        "--privacy-policy": "/site/privacy/policy.yaml",
    }
    assert part.environment["SL_LOG_LEVEL"] == "DEBUG"
    assert part.environment["SL_UID"] == "the-uid"
    assert part.environment["SL_REQUEST_CHANNEL"] == "/r"


def test_an_sls_node_of_the_profile_precedes() -> None:
    files = (
        IdentityFile("CERT", "BIND", "/pki/cert.pem", "/x"),
        IdentityFile("KEY", "VOLUME", "pki", "/y", "keys/key.pem"),
        IdentityFile("CAPATH", "BIND", "/pki", "/z", "ca"),
    )
    node = NodeDefinition(0, files, "sl-a", "192.0.2.7", 31000, "sl.example:443")
    part = sl(node, Contact("10.0.0.5"))
    found = options(part)
    assert (found["--host-ip"], found["--sl-fs-port"], found["--node-name"]) == ("192.0.2.7", "31000", "sl-a")
    assert found["--sl-fs-service"] == "sl.example:443"
    assert part.environment["SWARM_ID_CERT"] == "/pki/cert.pem"
    assert part.environment["SWARM_ID_KEY"] == "/site/volumes/pki/keys/key.pem"
    assert part.environment["SWARM_ID_CAPATH"] == "/pki/ca"


def test_a_task_cannot_lead_its_script_to_another_sl() -> None:
    given = Pair(
        NodeDefinition(0, user="ml"),
        shell("")._replace(command="'a b' c"),
        "",
        "",
        {},
        {"SWARM_CHANNEL": "/x", "A": "2"},
    )
    account = Account(1000, 1000, (1000, 4711))
    made = Environment(Path("/env"), {"A": "1", "B": "1"})
    part = ml_part(given, made, OWN, {"SWARM_CHANNEL": "/tmp/hpe-swarm/ml.sock"}, account)
    assert part.command == ["/bin/sh", "a b", "c"]
    assert part.environment["SWARM_CHANNEL"] == "/tmp/hpe-swarm/ml.sock"
    assert (part.environment["A"], part.environment["B"]) == ("2", "1")
    assert part.environment["PATH"].startswith("/env/bin:")
    assert (part.environment["USER"], part.environment["HOME"]) == ("ml", "/site/attempts/key/3/home")


def test_private_content_without_private_data_in_the_profile_is_left_out() -> None:
    given = Pair(NodeDefinition(1), shell("", private_content="/data"), "", "", {}, {})
    assert [mount.target for mount in mounts(given, PLACES, Path("/shared"), None)] == ["/tmp/hpe-swarm"]


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (("/x", "/x/"), "cannot both be at /x"),
        (("/tmp/hpe-swarm", "/y"), "/tmp/hpe-swarm is what SL and script share"),
        (("/x", "/tmp//hpe-swarm/sl"), "/tmp/hpe-swarm is what SL and script share"),
    ],
)
def test_contents_at_one_place_or_in_the_shared_folder_are_refused(
    tmp_path: Path, targets: tuple[str, str], says: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    contents = tuple(SharedContent(str(tmp_path / name), at, "BIND") for name, at in zip("ab", targets, strict=True))
    given = Pair(NodeDefinition(0), shell("", shared_content=contents), "", "", {}, {})
    with pytest.raises(ManagerError, match=says):
        mounts(given, PLACES, tmp_path, None)


def test_a_command_that_is_no_list_of_words_is_named() -> None:
    given = Pair(NodeDefinition(0), shell("")._replace(command="'open"), "", "", {}, {})
    with pytest.raises(ManagerError, match="Entrypoint or Command of the task: No closing quotation"):
        ml_part(given, Environment(Path("/env"), {}), OWN, {}, None)


@pytest.mark.parametrize(
    ("given", "cuda", "hip"),
    [
        (ContainerOptions(), "", ""),
        (ContainerOptions(gpus="all"), None, ""),
        (ContainerOptions(gpus="device=3,5"), "3,5", ""),
        (ContainerOptions(gpus='"device=0"'), "0", ""),
        (ContainerOptions(devices=("/dev/kfd", "/dev/dri")), "", None),
        (ContainerOptions(devices=("/dev/kfd", "/dev/dri/renderD129", "/dev/dri/renderD131")), "", "1,3"),
    ],
)
def test_a_script_sees_the_gpus_of_its_profile(given: ContainerOptions, cuda: str | None, hip: str | None) -> None:
    variables = visible_gpus(given)
    assert (variables.get("CUDA_VISIBLE_DEVICES"), variables.get("HIP_VISIBLE_DEVICES")) == (cuda, hip)


def test_other_ways_to_name_gpus_are_refused() -> None:
    with pytest.raises(ManagerError, match="gpus: 'two' is neither"):
        visible_gpus(ContainerOptions(gpus="two"))
