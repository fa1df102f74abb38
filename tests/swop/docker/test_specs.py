"""What the engine is told about a pair's containers: tables, without an engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmlearning.swop.docker.names import PairName
from swarmlearning.swop.docker.options import limit_options, user_options
from swarmlearning.swop.docker.settings import DockerSettings, User, sl_image_beside
from swarmlearning.swop.docker.specs import Site, ml_spec, sl_spec
from swarmlearning.swop.managing import Limits, ManagerError
from swarmlearning.swop.profile import ContainerOptions, IdentityFile, NodeDefinition, PrivateData, Profile
from swarmlearning.taskfiles.definition import SharedContent
from swop.docker.stand import ATTEMPT, pair

NODE = NodeDefinition(0)
PROFILE = Profile("group", "taskrunner", "DOCKER", "net", (NODE,), dns=("10.0.0.53",))
SITE = Site(PROFILE, "sl:1", User(1000, 1000), User(2000, 2000))
NAME = PairName("swop-1", "group", ATTEMPT, 0)


def variables(spec: dict[str, Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in spec["Env"])


@pytest.mark.parametrize(
    ("node", "expected", "published"),
    [
        (NODE, {"THIS_NODE_IP": "auto", "SL_FS_PORT": "30305"}, None),
        (replace(NODE, sl_ip="10.0.0.9"), {"THIS_NODE_IP": "10.0.0.9", "SL_FS_PORT": "30305"}, None),
        (
            replace(NODE, sl_host_ip="192.0.2.1", sl_port=16000),
            {"THIS_NODE_IP": "192.0.2.1", "SL_FS_PORT": "16000", "SL_FS_LISTEN_PORT": "30305"},
            "16000",
        ),
        (replace(NODE, sl_port=16000), {"THIS_NODE_IP": "auto", "SL_FS_PORT": "30305"}, "16000"),
        (replace(NODE, sl_service="sl.example:17000"), {"SL_FS_SERVICE": "sl.example:17000"}, "17000"),
        (replace(NODE, sl_relay=True, sl_port=16000), {"THIS_NODE_IP": "auto", "SL_FS_PORT": "30305"}, None),
        (replace(NODE, sl_service="sl.example"), {"SL_FS_SERVICE": "sl.example"}, None),
    ],
)
def test_an_sl_announces_where_others_reach_it(
    node: NodeDefinition, expected: dict[str, str], published: str | None
) -> None:
    spec = sl_spec(SITE, NAME, pair("", node=node))
    assert variables(spec).items() >= expected.items()
    opened = spec["HostConfig"].get("PortBindings")
    assert opened == (None if published is None else {"30305/tcp": [{"HostPort": published}]})


def test_in_the_host_s_network_nothing_is_published_and_no_address_is_given() -> None:
    site = SITE._replace(profile=replace(PROFILE, network="host"))
    spec = sl_spec(site, NAME, pair("", node=replace(NODE, sl_port=16000, sl_ip="10.0.0.9", sl_hostname="sl1")))
    assert variables(spec)["SL_FS_PORT"] == "16000"
    assert not {"NetworkingConfig", "ExposedPorts", "Hostname"} & set(spec)


def test_an_sl_has_its_identity_and_a_script_has_nothing_of_it() -> None:
    identity = (
        IdentityFile("KEY", "BIND", "/site/key.pem", "/swarm/key.pem"),
        IdentityFile("CERT", "VOLUME", "certs", "/certs", "node/cert.pem"),
        IdentityFile("CAPATH", "VOLUME", "certs", "/certs", "ca"),
    )
    made = pair("", node=replace(NODE, identity=identity))
    spec = sl_spec(SITE, NAME, made)
    mounts = spec["HostConfig"]["Mounts"]
    assert [(mount["Source"], mount["Target"], mount["ReadOnly"]) for mount in mounts[:-1]] == [
        ("/site/key.pem", "/swarm/key.pem", True),
        ("certs", "/certs", True),
    ]
    expected = {
        "SWARM_ID_KEY": "/swarm/key.pem",
        "SWARM_ID_CERT": "/certs/node/cert.pem",
        "SWARM_ID_CAPATH": "/certs/ca",
    }
    assert variables(spec).items() >= expected.items()
    user = ml_spec(SITE, NAME, made)
    assert len(user["HostConfig"]["Mounts"]) == 1
    assert not any(name.startswith("SWARM_ID") for name in variables(user))


def test_an_sl_has_its_privacy_policy_and_a_script_has_nothing_of_it() -> None:
    made = pair("", node=replace(NODE, privacy_policy="/site/privacy/policy.yaml"))
    spec, user = sl_spec(SITE, NAME, made), ml_spec(SITE, NAME, made)
    assert spec["HostConfig"]["Mounts"][0] == {
        "Type": "bind",
        "Source": "/site/privacy",
        "Target": "/swarm-privacy",
        "ReadOnly": False,
    }
    assert variables(spec)["SL_PRIVACY_POLICY"] == "/swarm-privacy/policy.yaml"
    assert len(user["HostConfig"]["Mounts"]) == 1
    assert "SL_PRIVACY_POLICY" not in variables(user)


def test_a_script_has_its_private_and_shared_content() -> None:
    made = pair(
        "",
        node=replace(NODE, private_data=PrivateData("/hospital", "BIND")),
        private_content="/platform/private",
        shared_content=(SharedContent("model", "/model", "VOLUME"),),
    )
    mounts = ml_spec(SITE, NAME, made)["HostConfig"]["Mounts"]
    assert [(mount["Type"], mount["Source"], mount["Target"]) for mount in mounts] == [
        ("volume", "model", "/model"),
        ("bind", "/hospital", "/platform/private"),
        ("volume", NAME.volume, "/tmp/hpe-swarm"),
    ]


def test_private_content_without_private_data_in_the_profile_is_left_out() -> None:
    mounts = ml_spec(SITE, NAME, pair("", private_content="/platform/private"))["HostConfig"]["Mounts"]
    assert [mount["Target"] for mount in mounts] == ["/tmp/hpe-swarm"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shared_content": (SharedContent("/etc", "/tmp/hpe-swarm/sl", "BIND"),)}, "is what SL and script share"),
        ({"shared_content": (SharedContent("/a", "/x", "BIND"), SharedContent("/b", "/x/", "BIND"))}, "cannot both"),
        ({"command": "-c 'open"}, "No closing quotation"),
    ],
)
def test_what_cannot_be_mounted_or_run_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ManagerError, match=says):
        ml_spec(SITE, NAME, pair("", **changes))


def test_containers_have_no_more_than_the_profile_asks_for() -> None:
    for spec in (sl_spec(SITE, NAME, pair("")), ml_spec(SITE, NAME, pair(""))):
        host = spec["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["Dns"] == ["10.0.0.53"]
        assert not [name for name in ("CapAdd", "Privileged", "Devices", "DeviceRequests") if host.get(name)]


def test_sl_and_script_share_a_level_where_processes_are_labelled() -> None:
    site = SITE._replace(selinux=True)
    sl, ml = sl_spec(site, NAME, pair("")), ml_spec(site, NAME, pair(""))
    (level,) = set(sl["HostConfig"]["SecurityOpt"]) - {"no-new-privileges"}
    assert level.startswith("label=level:s0:c")
    assert level in ml["HostConfig"]["SecurityOpt"]
    own = replace(NODE, options=ContainerOptions(security=("label=type:container_runtime_t",)))
    assert level not in ml_spec(site, NAME, pair("", node=own))["HostConfig"]["SecurityOpt"]


AMD = ContainerOptions(
    devices=("/dev/kfd", "/dev/dri:/dev/dri:rw"),
    ipc="host",
    shm_size="8G",
    capabilities=("SYS_PTRACE",),
    security=("seccomp=unconfined",),
    groups=("video",),
)


def test_options_of_amd_s_devices() -> None:
    host = user_options(AMD, ["label=level:s0:c1,c2"])
    assert host["Devices"] == [
        {"PathOnHost": "/dev/kfd", "PathInContainer": "/dev/kfd", "CgroupPermissions": "rwm"},
        {"PathOnHost": "/dev/dri", "PathInContainer": "/dev/dri", "CgroupPermissions": "rw"},
    ]
    assert (host["IpcMode"], host["ShmSize"], host["CapAdd"]) == ("host", 8 * 2**30, ["SYS_PTRACE"])
    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined", "label=level:s0:c1,c2"]
    spec = ml_spec(SITE, NAME, pair("", node=replace(NODE, options=AMD)))
    assert spec["HostConfig"]["GroupAdd"] == ["58000", "video"]


def test_privileged_containers_are_what_the_engine_makes_of_that() -> None:
    host = user_options(ContainerOptions(privileged=True), [])
    assert (host["Privileged"], host["CapDrop"], host["SecurityOpt"]) == (True, [], [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("all", {"Count": -1}),
        ('"device=3,5"', {"DeviceIDs": ["3", "5"]}),
        ("device=GPU-1", {"DeviceIDs": ["GPU-1"]}),
        ("2", {"Count": 2}),
    ],
)
def test_gpus(given: str, expected: dict[str, Any]) -> None:
    (request,) = user_options(ContainerOptions(gpus=given), [])["DeviceRequests"]
    assert request.items() >= expected.items()
    assert request["Capabilities"] == [["gpu"]]


@pytest.mark.parametrize("options", [ContainerOptions(gpus="some"), ContainerOptions(shm_size="much")])
def test_options_that_are_none_are_refused(options: ContainerOptions) -> None:
    with pytest.raises(ManagerError, match=r"some|much"):
        user_options(options, [])


def test_limits() -> None:
    limits = limit_options(Limits(cpus=1.5, memory_bytes=2**30, processes=100, seconds=3600))
    assert limits == {"NanoCpus": 1_500_000_000, "Memory": 2**30, "MemorySwap": 2**30, "PidsLimit": 100}
    assert limit_options(Limits()) == {}


def test_names_have_what_engines_allow_and_stay_the_same() -> None:
    name = PairName("swop-1", "größe 1", ATTEMPT._replace(task="a/b"), 3)
    assert name.container("ml").startswith("gr--e-1-a-b-u-3-")
    assert name.volume.startswith("swop-gr--e-1-swif-3-")
    assert name.container("sl") != PairName("swop-2", "größe 1", ATTEMPT._replace(task="a/b"), 3).container("sl")


# --- settings

BASE = {"DOCKER_HOST": "unix:///run/engine.sock", "SWOP_SL_IMAGE": "sl:1"}


def test_settings_are_read_from_the_original_s_variables(tmp_path: Path) -> None:
    given = {
        **BASE,
        "SWOP_UID": "1001",
        "SWOP_GID": "1002",
        "SWOP_KEEP_CONTAINERS": "True",
        "https_proxy": "http://p:1",
    }
    settings = DockerSettings.read(given, "swop-1", tmp_path)
    assert settings.user == settings.sl_user == User(1001, 1002)
    assert settings.keep
    assert settings.proxies == {"https_proxy": "http://p:1"}
    assert settings.address.socket == "/run/engine.sock"
    assert DockerSettings.read({**given, "SWOP_SL_USER": "5:6"}, "swop-1", tmp_path).sl_user == User(5, 6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"SWOP_UID": "root"}, "SWOP_UID: 'root' is not the number"),
        ({"SWOP_SL_USER": "5"}, "SWOP_SL_USER: '' is not the number"),
        ({"DOCKER_HOST": "ssh://host"}, "unix:///path or tcp://host:port"),
        ({"DOCKER_HOST": "tcp://h:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/nowhere"}, "/nowhere"),
        ({"SWOP_SL_IMAGE": ""}, "set SWOP_SL_IMAGE"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, wrong: dict[str, str], says: str) -> None:
    with pytest.raises(ManagerError, match=says):
        DockerSettings.read({**BASE, **wrong}, "swop-1", tmp_path, information=tmp_path / "none")


def test_the_sl_s_image_is_that_beside_the_swop_s_own(tmp_path: Path) -> None:
    file = tmp_path / "container_info_file"
    file.write_text("0123\nregistry.example:5000/org/swop:2.3.0\nsha256:00\n")
    assert sl_image_beside(file) == "registry.example:5000/org/sl:2.3.0"
    file.write_text("0123\nregistry.example/org/other:1\n")
    with pytest.raises(ManagerError, match="set SWOP_SL_IMAGE"):
        sl_image_beside(file)
