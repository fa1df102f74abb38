"""Profiles of every form, and of each platform's shape; policies."""

import pytest

from support.operate_data import VALUES, files, filled_in, raw
from swarmlearning.documents.faults import DocumentError
from swarmlearning.swop.managing import Limits
from swarmlearning.swop.policy import Trust
from swarmlearning.swop.policyfile import read_policy
from swarmlearning.swop.profile import ContainerOptions, IdentityFile, NodeDefinition, PrivateData, Profile
from swarmlearning.swop.profilefile import read_profile

PROFILES = files("*/*profile.yaml")


def profile_of(name: str) -> Profile:
    return read_profile(filled_in(name), name)


@pytest.mark.parametrize("name", PROFILES)
def test_a_platforms_profile_is_read(name: str) -> None:
    profile = profile_of(name)
    assert [node.index for node in profile.nodes] == list(range(len(profile.nodes)))
    assert all(node.identity and node.private_data for node in profile.nodes)
    assert (profile.api_host is None) != (profile.api_service is None)


@pytest.mark.parametrize("name", PROFILES)
def test_each_placeholder_that_stands_there_still_is_named(name: str) -> None:
    with pytest.raises(DocumentError, match="the placeholder <") as caught:
        read_profile(raw(name), name)
    assert all(any(f"<{placeholder}>" in fault.message for placeholder in VALUES) for fault in caught.value.faults)
    assert len(caught.value.faults) == raw(name).count(b"<")


def test_what_profiles_in_use_look_like_is_understood() -> None:
    profile = profile_of("profiles/quirks.yaml")
    assert profile.environment == {"http_proxy": "http://proxy.example.org:3128"}
    assert (profile.group, profile.taskrunner, profile.manager) == ("radiology", "runner of radiology", "DOCKER")
    assert profile.nodes == (
        NodeDefinition(
            index=0,
            identity=(IdentityFile("KEY", "VOLUME", "certs", "/certs/key.pem", "sl-1/key.pem"),),
            sl_environment={"SL_RAM_INTENSIVE": "False", "SL_LEADER_FAILURE_BASE_TIMEOUT": "600"},
            sl_labels={"team": "radiology", "on": "yes"},
            sl_ip="10.0.0.5",
            user_hostname="ml1",
            user_environment={"A": "010", "B": "12:30:45", "C": "False"},
            user_labels={"team": "radiology", "bare": "", "dotted.name": "value"},
            user_ip="fd00::5",
        ),
        NodeDefinition(
            index=3,
            sl_hostname="sl2",
            sl_host_ip="hospital.example.org",
            sl_port=16000,
            sl_service="fs.sl-2.swarm",
            private_data=PrivateData("patient-data", "VOLUME"),
            sl_environment={"SL_LOG_LEVEL": "DEBUG"},
            user_environment={"X": "1=2", "Y": ""},
            options=ContainerOptions(gpus="device=3,5", shm_size="64m"),
        ),
    )


def test_services_dns_and_fixed_addresses_are_read() -> None:
    profile = profile_of("reverse-proxy-mnist/swop_profile.yaml")
    assert (profile.api_service, profile.dns) == ("api.sn-1.swarm:443", ("10.0.0.2", "10.0.0.1"))
    assert profile.environment == {"no_proxy": "127.0.0.1,localhost,.swarm"}
    assert [(node.sl_service, node.sl_ip, node.user_ip) for node in profile.nodes] == [
        ("fs.sl-1.swarm:443", "10.0.0.1", "10.0.1.1"),
        ("fs.sl-2.swarm:443", "10.0.0.2", "10.0.1.2"),
    ]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cpu", ContainerOptions()),
        ("nvidia", ContainerOptions(gpus="device=2")),
        (
            "amd",
            ContainerOptions(
                devices=("/dev/kfd", "/dev/dri"),
                ipc="host",
                shm_size="16G",
                groups=("video", "render"),
                capabilities=("SYS_PTRACE",),
                security=("seccomp=unconfined",),
                privileged=True,
            ),
        ),
    ],
)
def test_container_options_are_read(name: str, options: ContainerOptions) -> None:
    assert profile_of(f"mnist-pyt-{name}/swop_profile.yaml").nodes[2].options == options


def test_spiffe_identities_need_no_sub_path() -> None:
    for node in profile_of("spire-cifar10/swop2_profile.yaml").nodes:
        socket = IdentityFile("SPIFFE_SOCKETPATH", "VOLUME", "spire-agent-sock", "/tmp/spire-agent/public/api.sock")
        assert node.identity == (socket,)
        assert (node.sl_labels, node.user_labels) == ({"swarm-node-type": "sl"}, {"project": "cifar10"})


def test_what_is_ours_is_read() -> None:
    profile = profile_of("profiles/process.yaml")
    assert (profile.manager, profile.network) == ("PROCESS", "")
    assert (profile.hang_seconds, profile.end_hung, profile.witness) == (600, True, True)
    assert profile.nodes[0].user == "swarm-ml"
    assert profile.nodes[0].sl_relay is True
    assert profile.nodes[0].privacy_policy == "/srv/swarm/privacy/policy.yaml"


def test_policies_are_read() -> None:
    assert read_policy(raw("policies/two_organisations.yaml"), "").trust == (Trust("own"), Trust("hospital-b"))
    policy = read_policy(raw("policies/everything.yaml"), "")
    assert policy.trust == (Trust("own"), Trust("university", ("CN=OPERATOR-1,O=University",), ("make",)))
    assert policy.types == ("RUN_SWARM", "MAKE_USER_CONTAINER")
    assert policy.images == ("tensorflow/tensorflow:2.*", "registry.example.org/team/*")
    assert (policy.mount_roots, policy.volumes) == (("/srv/swarm", "/opt/models"), ("model-*", "hf-cache"))
    assert policy.options == ("gpus", "shm-size")
    assert (policy.allowed, policy.denied) == (frozenset({f"{1:064}"}), frozenset({f"{2:064}"}))
    assert policy.limits == Limits(7200, 2.5, 16 * 2**30, 500)
    assert policy.share_logs == {"SWOP": ("own",), "SL": ("own", "university"), "ML": ()}
    assert policy.demand_user
