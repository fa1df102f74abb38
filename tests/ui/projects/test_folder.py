"""A project's folder: names, bounds, whole files or none, and no private key in any form."""

import io
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from support.certs import make_workspace
from swarmlearning.ui.projects import kinds
from swarmlearning.ui.projects.folder import SETTINGS, Projects
from swarmlearning.ui.projects.kinds import KindName, ProjectError, kind_named, kind_of, path_of
from swarmlearning.ui.projects.settings import ProjectNode, ProjectSettings, check_node, check_settings

KEY = ec.generate_private_key(ec.SECP256R1())
PASSWORD = BestAvailableEncryption(b"secret")


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    made = Projects(tmp_path / "projects")
    made.create("mnist", "alice", "Digits")
    return made


def put(projects: Projects, kind: KindName, name: str, data: bytes = b"x") -> str:
    return projects.put("mnist", kind, name, io.BytesIO(data)).path


def test_files_are_kept_replaced_listed_and_removed(projects: Projects) -> None:
    assert put(projects, "model", "pkg/net.py", b"first") == "model/pkg/net.py"
    assert put(projects, "model", "pkg/net.py", b"second") == "model/pkg/net.py"
    assert put(projects, "readme", "notes.md") == "README.md"
    assert put(projects, "readme", "notes.txt") == "README.txt"
    assert [(each.path, each.kind, each.size) for each in projects.files("mnist")] == [
        ("README.txt", "readme", 1),
        ("model/pkg/net.py", "model", 6),
    ]
    assert projects.read("mnist", "model/pkg/net.py") == b"second"
    assert projects.sources("mnist")[1].digest == "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4"
    projects.drop("mnist", "model/pkg/net.py")
    assert [each.path for each in projects.files("mnist")] == ["README.txt"]
    assert not (projects.root / "mnist" / "model" / "pkg").exists()
    projects.remove("mnist")
    assert projects.names() == []


def test_a_plan_gets_texts_with_their_macros_and_whose_certificate_is_whose(projects: Projects, tmp_path: Path) -> None:
    identity = make_workspace(tmp_path, ["SL-1"])["SL-1"]
    put(projects, "certificate", "any.pem", identity.bundle.encode())
    put(projects, "policy", "site.yaml", b"\xef\xbb\xbfmountRoots: [<PROJECT>]")
    put(projects, "model", "train.py", b"<PROJECT>")
    assert [(each.path, each.text, each.node) for each in projects.sources("mnist")] == [
        ("certs/any.pem", "", "SL-1"),
        ("model/train.py", "", ""),
        ("policies/site.yaml", "mountRoots: [<PROJECT>]", ""),
    ]
    assert [each.about for each in projects.check("mnist")] == [
        "CN=SL-1,OU=Swarm-Learning",
        "Python script",
        "site policy: tasks of own",
    ]


def test_settings_are_kept(projects: Projects) -> None:
    before = projects.settings("mnist")
    assert (before.author, before.description) == ("alice", "Digits")
    changed = ProjectSettings(
        "alice", before.created_ms, values={"<DNS>": "10.0.0.1"}, nodes=(ProjectNode("SN-1", "sn", "a"),)
    )
    projects.alter("mnist", lambda _: changed)
    assert Projects(projects.root).settings("mnist") == changed
    (projects.root / "mnist" / SETTINGS).write_text('{"nodes": 1}')
    with pytest.raises(ProjectError, match="damaged"):
        projects.settings("mnist")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "-a", "a.", "ü", "new", "New", "tasks", "a.json", "x" * 41, "a\n", ".new-a"]
)
def test_names_that_lead_elsewhere_or_mean_something_else_are_refused(projects: Projects, name: str) -> None:
    for act in (lambda: projects.create(name, "a"), lambda: projects.remove(name), lambda: projects.files(name)):
        with pytest.raises(ProjectError, match="cannot name a project"):
            act()


def test_a_name_is_given_once_whatever_its_capitals(projects: Projects) -> None:
    with pytest.raises(ProjectError, match="there is a project mnist already"):
        projects.create("MNIST", "bob")
    with pytest.raises(ProjectError, match="there is no project other"):
        projects.files("other")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("task", "run.txt", "ends with .yaml or .yml"),
        ("task", "a/run.yaml", "without folders"),
        ("task", "../run.yaml", "without folders"),
        ("model", "../train.py", "'..' cannot be used as a name"),
        ("model", "/etc/passwd", "'' cannot be used as a name"),
        ("model", ".env", "'.env' cannot be used as a name"),
        ("model", "a b.py", "cannot be used as a name"),
        ("model", "/".join("abcdefghij"), "at most 8 folders deep"),
        ("authority", "ca.der", "ends with .pem, .crt or .cer"),
        ("readme", "a.exe", "ends with .md or .txt"),
    ],
)
def test_file_names_are_checked(kind: KindName, name: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        path_of(kind, name)
    assert message in str(caught.value)


def test_kinds_are_told_by_path() -> None:
    assert [kind_of(each) for each in ("tasks/a.yaml", "README.md", "project.json", "other/x", "model/a/b.py")] == [
        "task",
        "readme",
        None,
        None,
        "model",
    ]
    assert kind_named("policy") == "policy"
    with pytest.raises(ProjectError, match="no kind of a project's files"):
        kind_named("key")


PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
DER = KEY.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
KEYS = {
    "pem": PEM,
    "encrypted": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, PASSWORD),
    "openssh": KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    "traditional": KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "der": DER,
    "encrypted-der": KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, PASSWORD),
    "pkcs12": serialize_key_and_certificates(b"n", KEY, None, None, PASSWORD),
    "pkcs12-open": serialize_key_and_certificates(b"n", KEY, None, None, NoEncryption()),
    "within": b"text\n" + PEM + b"more",
    "across-chunks": b"x" * (2**20 - 10) + PEM,
    "putty": b"PuTTY-User-Key-File-3: ssh-ed25519\n",
}


@pytest.mark.parametrize("form", KEYS)
def test_a_private_key_is_refused_and_nothing_is_left_of_it(projects: Projects, form: str) -> None:
    put(projects, "model", "data.bin", b"before")
    with pytest.raises(ProjectError, match="it holds a private key"):
        put(projects, "model", "data.bin", KEYS[form])
    assert projects.read("mnist", "model/data.bin") == b"before"
    assert sorted(each.name for each in (projects.root / "mnist").iterdir()) == sorted(
        [SETTINGS, *(kind.folder for kind in kinds.KINDS.values() if kind.folder)]
    )


def test_a_name_of_a_key_is_refused_where_certificates_belong(projects: Projects) -> None:
    with pytest.raises(ProjectError, match="the name is that of a private key"):
        put(projects, "certificate", "sl-1-key.pem")
    assert put(projects, "model", "translation.key") == "model/translation.key"


def test_sizes_and_numbers_are_bounded(projects: Projects, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProjectError, match="more than 300 kB, the most that there is room for here"):
        put(projects, "task", "a.yaml", b"#" * 300_001)
    assert not projects.files("mnist")
    monkeypatch.setitem(kinds.KINDS, "task", kinds.KINDS["task"]._replace(most_files=1))
    put(projects, "task", "a.yaml")
    put(projects, "task", "a.yaml", b"again")
    with pytest.raises(ProjectError, match="1 files of kind task, the most there can be"):
        put(projects, "task", "b.yaml")


def test_a_full_disk_leaves_the_file_as_it_was(projects: Projects, largest_file: object) -> None:
    put(projects, "model", "data.bin", b"before")
    with largest_file(1000), pytest.raises(ProjectError, match="File too large"):  # type: ignore[operator]
        put(projects, "model", "data.bin", b"x" * 2000)
    assert projects.read("mnist", "model/data.bin") == b"before"


def test_a_file_and_a_folder_of_one_name_are_refused(projects: Projects) -> None:
    put(projects, "model", "net")
    with pytest.raises(ProjectError, match="a file and a folder would have the same name"):
        put(projects, "model", "net/a.py")
    put(projects, "model", "pkg/a.py")
    with pytest.raises(ProjectError, match="a file and a folder would have the same name"):
        put(projects, "model", "pkg")


def test_links_lead_nowhere(projects: Projects, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (projects.root / "mnist" / "model" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ProjectError, match="has no file"):
        projects.read("mnist", "model/link")
    with pytest.raises(ProjectError, match="has no file"):
        projects.read("mnist", "project.json")


def test_what_an_end_in_the_middle_has_left_is_no_project_and_goes_with_the_next_one(projects: Projects) -> None:
    for name in (".new-half", ".gone-old"):
        (projects.root / name).mkdir()
        (projects.root / name / SETTINGS).write_text("{}")
    assert projects.names() == ["mnist"]
    projects.create("second", "alice")
    assert sorted(each.name for each in projects.root.iterdir()) == ["mnist", "second"]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (ProjectNode("SL-1", "sn", "a"), "begins with SN-"),
        (ProjectNode("SN-1;rm", "sn", "a"), "cannot name a node"),
        (ProjectNode("SN-1", "sn", "a", api_port=0), "SN-1: 0 is no port (API)"),
        (ProjectNode("SN-1", "sn", "a", join_port=70000), "no port for newcomers"),
        (ProjectNode("SL-1", "sl", "a", script=("a\nb",)), "printable characters"),
        (ProjectNode("SL-1", "sl", "a", more=("x",) * 101), "at most 100 words"),
    ],
)
def test_nodes_are_checked(node: ProjectNode, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        check_node(node)
    assert message in str(caught.value)


def test_settings_are_checked() -> None:
    for settings, message in (
        (ProjectSettings(network_id="abc"), "64 hexadecimal digits"),
        (ProjectSettings(description="x" * 2001), "2,001 characters"),
        (ProjectSettings(nodes=(ProjectNode("SN-1", "sn", "a"),) * 257), "257 nodes"),
        (ProjectSettings(values={"x": "y"}), "no macro"),
    ):
        with pytest.raises(ProjectError, match=message):
            check_settings(settings)
