"""What another deployment of a project would change, by what was deployed before. Pure but for one small file."""

from pathlib import Path

from swarmlearning.ui.projects import deployed
from swarmlearning.ui.projects.deployed import Change, changes, done, leaving
from swarmlearning.ui.projects.placing import Source
from swarmlearning.ui.projects.plan import Plan, plan
from swarmlearning.ui.projects.settings import HostPlace, ProjectNode, ProjectSettings

HOSTS = (HostPlace("north", "10.0.0.1", "/opt/swarm"), HostPlace("south", "10.0.0.2", "/opt/swarm"))
SN = ProjectNode("SN-1", "sn", "north", founds=True)
SL = ProjectNode("SL-1", "sl", "south", script=("python3", "x.py"))


def planned(*nodes: ProjectNode, digest: str = "1" * 64, files: tuple[str, ...] = ("model/train.py",)) -> Plan:
    sources = [Source(path, digest, 5) for path in files]
    return plan("mnist", ProjectSettings(hosts=HOSTS, nodes=nodes), sources)


def deployed_as(made: Plan) -> dict[str, deployed.DeployedHost]:
    return {host.name: done(made, host.name, host.root, "ada", 1000) for host in HOSTS}


def test_all_is_new_at_first_and_nothing_changes_the_second_time() -> None:
    made = planned(SN, SL)
    path = "/opt/swarm/projects/mnist/model/train.py"
    assert changes(made, {}) == [
        Change("north", "new-node", "SN-1"),
        Change("north", "new-file", path),
        Change("south", "new-node", "SL-1"),
        Change("south", "new-file", path),
    ]
    assert {(each.what, each.name) for each in changes(made, deployed_as(made))} == {
        ("same-node", "SN-1"),
        ("same-node", "SL-1"),
    }


def test_what_differs_is_named_on_its_host() -> None:
    before = deployed_as(planned(SN, SL, files=("model/train.py", "model/old.py")))
    other = ProjectNode("SL-1", "sl", "south", script=("python3", "y.py"))
    more = ProjectNode("SL-2", "sl", "south", fs_port=30306, script=("python3", "x.py"))
    found = changes(planned(SN, other, more, digest="2" * 64), before)
    assert [(each.what, each.name.rpartition("/")[2]) for each in found if each.host == "south"] == [
        ("changed-node", "SL-1"),
        ("new-node", "SL-2"),
        ("changed-file", "train.py"),
        ("gone-file", "old.py"),
    ]
    assert ("same-node", "SN-1") in [(each.what, each.name) for each in found]
    gone = changes(planned(SN), before)
    assert ("south", "gone-node", "SL-1") in [(each.host, each.what, each.name) for each in gone]


def test_nodes_leave_the_host_where_they_are_planned_no_more_also_for_another_host() -> None:
    before = deployed_as(planned(SN, SL))
    moved = ProjectNode("SL-1", "sl", "north", script=("python3", "x.py"))
    assert leaving(planned(SN, moved), before) == leaving(planned(SN), before) == {"south": ["SL-1"]}
    assert leaving(planned(SN, SL), before) == {}


def test_what_was_deployed_is_kept_and_a_damaged_file_says_nothing(tmp_path: Path) -> None:
    known = deployed_as(planned(SN, SL))
    deployed.write(tmp_path, known)
    assert deployed.read(tmp_path) == known
    (tmp_path / deployed.FILE).write_bytes(b"{")
    assert deployed.read(tmp_path) == deployed.read(tmp_path / "nowhere") == {}
