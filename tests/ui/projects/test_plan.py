"""A deployment's plan: what lies where, in which order nodes start, and what cannot work, before anything is copied."""

import msgspec
import pytest

from swarmlearning.ui.projects.macros import Place
from swarmlearning.ui.projects.placing import Source, certificate_files
from swarmlearning.ui.projects.plan import Plan, plan
from swarmlearning.ui.projects.settings import HostPlace, ProjectNode, ProjectSettings

A, B = HostPlace("north", "10.0.0.1", "/opt/swarm"), HostPlace("south", "10.0.0.2", "/opt/swarm")
SN = ProjectNode("SN-1", "sn", "north", founds=True)
SWOP = ProjectNode("SWOP-1", "swop", "south", profile="profiles/p.yaml", policy="policies/site.yaml")
SL = ProjectNode("SL-9", "sl", "south", fs_port=16009, script=("python3", "<PROJECT-MODEL>/train.py"))
PROFILE = """\
groupname: {group}
taskrunner: defaulttaskbb.taskdb.sml.hpe
resourcemgr: {{mgrtype: PROCESS}}
apisrv: null
nodes:
- slnodedef:
    idx: 0
    identity:
    - attribute: {{aType: KEY, mType: BIND, src: <PROJECT-CERTS>/sl-1-key.pem, tgt: /c/key.pem}}
    - attribute: {{aType: CERT, mType: BIND, src: <PROJECT-CERTS>/sl-1-cert.pem, tgt: /c/cert.pem}}
    slhostname: null
    privatedata: null
    slenvvars: null
    usrhostname: null
    usrenvvars: [SITE: <HOST_ADDRESS>]
"""
TASK = "Name: run\nBody: {Src: <PROJECT-MODEL>}\n"
SOURCES = (
    Source("model/train.py", "1" * 64, 100),
    Source("profiles/p.yaml", "2" * 64, 10, PROFILE.format(group="mnist")),
    Source("policies/site.yaml", "3" * 64, 10, "mountRoots: [<PROJECT>]\n"),
    Source("tasks/run.yaml", "4" * 64, 10, TASK),
    Source("cacerts/ca-1.pem", "5" * 64, 10),
    Source("certs/first.pem", "6" * 64, 10, node="SL-1"),
    Source("README.md", "7" * 64, 10),
)


def planned(*nodes: ProjectNode, hosts: tuple[HostPlace, ...] = (A, B), sn: str = "", **settings: object) -> Plan:
    made = msgspec.structs.replace(ProjectSettings(nodes=nodes, hosts=hosts), **settings)
    return plan("mnist", made, SOURCES, sn)


def conflicts(found: Plan) -> list[str]:
    return [f"{each.of}: {each.what}" for each in found.conflicts]


def test_a_whole_deployment() -> None:
    found = planned(SL, SWOP, SN)
    assert conflicts(found) == []
    assert [(each.name, each.host, each.after) for each in found.nodes] == [
        ("SN-1", "north", ()),
        ("SWOP-1", "south", ("SN-1",)),
        ("SL-9", "south", ("SN-1",)),
    ]
    sn, swop, sl = found.nodes
    folder = "/opt/swarm/projects/mnist"
    assert " ".join(sn.command) == (
        "swarm sn --host-ip 10.0.0.1 --sentinel --sn-api-port 30304 --sn-p2p-port 30303 --sn-join-port 30307 "
        f"--data-dir {folder}/nodes/sn-1 --capath {folder}/cacerts --cert {folder}/certs/sn-1-cert.pem "
        f"--key {folder}/certs/sn-1-key.pem"
    )
    assert " ".join(swop.command).startswith(
        f"swarm swop --host-ip 10.0.0.2 --usr-dir {folder}/profiles --profile-file-name p.yaml "
        f"--policy-file {folder}/policies/site.yaml --sn-ip 10.0.0.1 --sn-api-port 30304 "
        f"--data-dir {folder}/nodes/swop-1 "
    )
    assert sl.command[-3:] == ("--", "python3", f"{folder}/model/train.py")
    assert [(each.port, each.what) for each in swop.listens] == [(30305, "file server of pair 0")]
    assert found.tasks == {"tasks/run.yaml": f"Name: run\nBody: {{Src: {folder}/model}}\n"}


def test_each_host_gets_the_files_with_its_own_values() -> None:
    found = planned(SN, SWOP)
    there = {(each.host, each.source): each for each in found.files}
    assert {source for host, source in there if host == "south"} == {
        *("model/train.py", "profiles/p.yaml", "policies/site.yaml", "cacerts/ca-1.pem", "README.md")
    }
    profile = there["south", "profiles/p.yaml"]
    assert profile.path == "/opt/swarm/projects/mnist/profiles/p.yaml"
    assert profile.text is not None
    assert "SITE: 10.0.0.2" in profile.text
    assert [each.macro for each in profile.replaced] == ["<PROJECT-CERTS>", "<PROJECT-CERTS>", "<HOST_ADDRESS>"]
    assert "10.0.0.1" in str(there["north", "profiles/p.yaml"].text)
    script = there["south", "model/train.py"]
    assert (script.text, script.digest, script.size) == (None, "1" * 64, 100)


def test_keys_are_made_where_they_are_used() -> None:
    found = planned(SN, SWOP)
    folder = "/opt/swarm/projects/mnist/certs"
    assert [(each.host, each.node, each.folder, each.certificate) for each in found.keys] == [
        ("north", "SN-1", folder, ""),
        ("south", "SWOP-1", folder, ""),
        ("south", "SL-1", folder, "certs/first.pem"),
    ]
    assert certificate_files(Place("10.0.0.2", "/opt/swarm", "mnist"), "SL-1").key == f"{folder}/sl-1-key.pem"


def test_a_network_that_is_there_is_joined() -> None:
    other = ProjectNode("SN-2", "sn", "north", join_port=0)
    found = planned(
        other, sn="sn.example.org:443", network_id="a" * 64, values={"<LICENSE-SERVER-ADDRESS>": "lic:5815"}
    )
    assert conflicts(found) == []
    text = " ".join(found.nodes[0].command)
    assert "--sentinel-ip sn.example.org --sentinel-api-port 443 " in text
    assert f"--sn-join-port 0 --network-id {'a' * 64} --apls-ip lic --apls-port 5815 " in text
    named = planned(msgspec.structs.replace(other, join="[fd00::1]:30304"), sn="sn.example.org:443")
    assert "--sentinel-ip fd00::1 --sentinel-api-port 30304" in " ".join(named.nodes[0].command)


OTHER_SN = ProjectNode("SN-2", "sn", "north", api_port=31304, p2p_port=31303, join_port=0)


def but(node: ProjectNode, **fields: object) -> ProjectNode:
    return msgspec.structs.replace(node, **fields)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "mnist: the project has no nodes"),
        ((but(SN, host="east"),), "SN-1: there is no host 'east'"),
        ((SN, but(OTHER_SN, founds=True)), "SN-2: SN-1 founds the network"),
        ((but(SN, join="a:1"),), "SN-1: it founds a network and is to join by a:1"),
        ((but(SWOP, founds=True),), "SWOP-1: only an SN founds a network"),
        ((SWOP,), "SWOP-1: no SN is known to join by"),
        ((SN, but(SWOP, join="nowhere")), "SWOP-1: 'nowhere' is no address"),
        ((SN, but(OTHER_SN, api_port=30303)), "SN-2: port 30303 (API) is taken on host north by SN-1 (P2P)"),
        ((SN, SWOP, but(SL, fs_port=30305)), "SL-9: port 30305 (file server) is taken on host south"),
        ((SN, but(OTHER_SN, name="sn-1")), "sn-1: host north has a node of this name"),
        ((SN, but(SWOP, profile="")), "SWOP-1: a SWOP needs a profile"),
        ((SN, but(SWOP, profile="profiles/x.yaml")), "SWOP-1: the project has no profile 'profiles/x.yaml'"),
        ((SN, but(SWOP, policy="profiles/p.yaml")), "SWOP-1: the project has no policy 'profiles/p.yaml'"),
        ((SN, but(SL, profile="profiles/p.yaml")), "SL-9: only a SWOP has a profile"),
        ((SN, but(SL, script=())), "SL-9: an SL needs a script"),
        ((SN, SWOP, but(SWOP, name="SWOP-2")), "SWOP-2: SWOP-1 has the group mnist on host south"),
    ],
)
def test_what_cannot_work_is_named(nodes: tuple[ProjectNode, ...], message: str) -> None:
    assert [each for each in conflicts(planned(*nodes)) if each.startswith(message)]


@pytest.mark.parametrize(
    ("south", "message"),
    [
        (HostPlace("south", "10.0.0.1", "/opt/swarm"), "south: it has the address 10.0.0.1 as host north has"),
        (HostPlace("south", "0.0.0.0", "/opt/swarm"), "south: '0.0.0.0' stands for all addresses"),
        (HostPlace("south", "a b", "/opt/swarm"), "south: 'a b' is neither a host name nor an IP address"),
        (HostPlace("south", "127.0.0.1", "/opt/swarm"), "south: the nodes of other hosts cannot reach 127.0.0.1"),
        (HostPlace("south", "10.0.0.2", "opt"), "south: 'opt' cannot be the product's folder"),
        (HostPlace("south", "10.0.0.2", "/srv"), "tasks/run.yaml: <PROJECT-MODEL> is /opt/swarm/projects/"),
    ],
)
def test_hosts_that_do_not_fit_are_named(south: HostPlace, message: str) -> None:
    assert [each for each in conflicts(planned(SN, SWOP, hosts=(A, south))) if each.startswith(message)]


def test_a_file_that_is_wrong_or_open_at_a_host_is_named() -> None:
    open_one = msgspec.structs.replace(SOURCES[1], text=PROFILE.format(group="<DNS>"))
    settings = ProjectSettings(nodes=(SN, SWOP), hosts=(A, B))
    found = plan("mnist", settings, (open_one, SOURCES[2]))
    assert conflicts(found)[0] == (
        "profiles/p.yaml: on host north: <DNS> has no value: give it one in the project's settings"
    )
    wrong = msgspec.structs.replace(SOURCES[1], text="groupname: [a]\n")
    assert "on host north: line 1, column 12: groupname: " in "\n".join(
        conflicts(plan("mnist", settings, (wrong, SOURCES[2])))
    )


def test_doubts_are_warnings() -> None:
    assert planned(SN, OTHER_SN).warnings[0].startswith("Two SNs survive no failure")
    local = planned(SN, hosts=(HostPlace("north", "127.0.0.1", "/opt/swarm"),))
    assert conflicts(local) == []
    assert "loopback" in local.warnings[0]
    profile = PROFILE.replace("apisrv: null", "apisrv: {{locator: {{host: 10.9.9.9, service: null}}}}").format(
        group="g"
    )
    sources = (msgspec.structs.replace(SOURCES[1], text=profile), SOURCES[2])
    found = plan("mnist", ProjectSettings(nodes=(SN, SWOP), hosts=(A, B)), sources)
    assert found.warnings == (
        "SWOP-1: its profile names the SN 10.9.9.9:30304 (apisrv), which goes before 10.0.0.1:30304",
    )
