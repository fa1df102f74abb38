"""A project's files are checked in place, by those who read them later: each fault with line, column and field."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.certs import authority_in, make_workspace, with_key
from swarmlearning.identity.certificates import to_pem
from swarmlearning.ui.projects.checking import check_file, check_together
from swarmlearning.ui.projects.kinds import KindName

DATA = Path(__file__).parents[2] / "data" / "operate"
TASK = """\
Name: {name}
TaskType: RUN_SWARM
Author: operator
Prereq: {prerequisite}
Outcome: {name}
Body:
  Command: model/train.py
  Entrypoint: python3
  WorkingDir: /tmp/test
  Envvars: [MAX_EPOCHS: 2]
  PrivateContent: null
  SharedContent: [{{Src: <PROJECT-MODEL>, Tgt: /tmp/test/model, MType: BIND}}]
"""
POLICY = "trust: [own, hospital-b]\nmountRoots: [<PROJECT>]\n"


def task(name: str = "run", prerequisite: str = "ROOTTASK") -> bytes:
    return TASK.format(name=name, prerequisite=prerequisite).encode()


def test_what_is_right_is_told_in_a_line() -> None:
    found = check_file("task", "tasks/run.yaml", task(), {}).result
    assert (found.about, found.faults, found.warnings) == ("RUN_SWARM run", (), ())
    assert (found.macros, found.open) == (("<PROJECT-MODEL>",), ())
    assert check_file("policy", "policies/p.yaml", POLICY.encode(), {}).result.about == (
        "site policy: tasks of own, hospital-b"
    )
    lock = b"norm: 1.0\nnoise: 1.1\nepsilon: 8\ndelta: 1e-6\nprotects: whole-change-per-round\n"
    lock += b"outside: losses-metrics-weights\n"
    assert check_file("policy", "policies/lock.yaml", lock, {}).result.about == (
        "privacy lock: changes of a norm of 1 at most, noise 1.1 within ε = 8"
    )


@pytest.mark.parametrize(
    "path", sorted(DATA.glob("*/*profile*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_profiles_in_use_are_right_once_their_own_macros_have_values(path: Path) -> None:
    data = path.read_bytes()
    left = check_file("profile", path.name, data, {}).result.open
    found = check_file("profile", path.name, data, dict.fromkeys(left, "10.0.0.1")).result
    assert found.faults == ()
    assert not found.open
    assert found.about.startswith("group ")


@pytest.mark.parametrize(
    ("before", "after", "place", "message"),
    [
        ("RUN_SWARM", "RUN_SWARMS", (2, 11, "TaskType"), "did you mean RUN_SWARM?"),
        ("MAX_EPOCHS: 2]", "9: 2]", (10, 16, "Body.Envvars[0].9"), "'9' cannot name a variable"),
        ("MType: BIND", "MType: NONE", (12, 71, "Body.SharedContent[0].MType"), "expected BIND or VOLUME"),
        ("/tmp/test\n", "<WORKING-DIR>\n", (9, 15, "Body.WorkingDir"), "<WORKING-DIR> has not been replaced"),
        ("Author: operator", "Author: \t: x", (3, 9, ""), "not valid YAML"),
    ],
)
def test_a_fault_has_its_line_column_and_field(
    before: str, after: str, place: tuple[int, int, str], message: str
) -> None:
    (fault,) = check_file("task", "tasks/run.yaml", task().decode().replace(before, after).encode(), {}).result.faults
    assert (fault.line, fault.column, fault.field) == place
    assert message in fault.message


def test_bytes_that_are_no_text_are_a_fault() -> None:
    (fault,) = check_file("profile", "profiles/p.yaml", b"group: \xff", {}).result.faults
    assert (fault.line, fault.column) == (1, 8)
    assert "not UTF-8" in fault.message


def test_tasks_and_groups_are_compared_with_one_another() -> None:
    first = check_file("task", "tasks/a.yaml", task("build"), {})
    second = check_file("task", "tasks/b.yaml", task("build"), {})
    third = check_file("task", "tasks/c.yaml", task("run", "build"), {})
    lost = check_file("task", "tasks/d.yaml", task("more", "elsewhere"), {})
    profile = (DATA / "profiles" / "process.yaml").read_bytes()
    groups = [check_file("profile", f"profiles/{name}.yaml", profile, {}) for name in "ab"]
    found = {each.path: each for each in check_together([first, second, third, lost, *groups])}
    assert [each.message for each in found["tasks/b.yaml"].faults] == ["the task build is in tasks/a.yaml already"]
    assert found["tasks/c.yaml"].faults == found["tasks/c.yaml"].warnings == ()
    assert "has to be on the ledger already" in found["tasks/d.yaml"].warnings[0].message
    assert found["profiles/a.yaml"].warnings == ()
    assert "profiles/a.yaml has the group" in found["profiles/b.yaml"].warnings[0].message


def certificate(tmp_path: Path, node: str, ends: datetime) -> bytes:
    return to_pem(with_key(tmp_path, node, "ec", ends).certificate).encode()


def test_certificates_are_told_by_their_subject_and_end(tmp_path: Path) -> None:
    make_workspace(tmp_path, ["SL-1"])
    now = datetime.now(UTC)
    now_ms = int(now.timestamp() * 1000)
    authority = to_pem(authority_in(tmp_path).certificate).encode()
    soon = certificate(tmp_path, "SL-1", now + timedelta(days=9, hours=1))

    def remarks(kind: KindName, data: bytes, at_ms: int = now_ms) -> tuple[list[str], list[str]]:
        found = check_file(kind, f"certs/{kind}.pem", data, {}, at_ms).result
        return [each.message for each in found.faults], [each.message for each in found.warnings]

    assert remarks("authority", authority) == ([], [])
    assert remarks("certificate", soon) == ([], ["it expires in 9 days: have a new one issued"])
    assert remarks("certificate", soon, now_ms + 86400_000 * 10) == (["it has expired: have a new one issued"], [])
    assert "it belongs to the CA certificates" in remarks("certificate", authority)[0][0]
    assert "no certificate authority (CA:TRUE)" in remarks("authority", soon)[0][0]
    assert "openssl x509 -inform der" in remarks("authority", b"\x30\x82")[0][0]
    assert remarks("authority", b"-----BEGIN CERTIFICATE-----\nAAAA\n")[0]


def test_a_script_that_is_no_python_here_is_doubted_but_may_be_right_there() -> None:
    found = check_file("model", "model/train.py", b"import os\nif True\n    pass\n", {}).result
    assert not found.faults
    assert (found.warnings[0].line, found.warnings[0].column) == (2, 8)
    assert check_file("model", "model/train.py", b"x = '\\d'\n", {}).result.warnings == ()
    assert check_file("model", "model/a.py", b"(" * 5000, {}).result.warnings
    assert check_file("model", "model/a.py", b"\x00", {}).result.warnings
    assert check_file("model", "model/weights.bin", b"\x00", {}).result.warnings == ()
