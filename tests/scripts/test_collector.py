"""`swarmLogCollector`: its arguments, the files of its archive, and what is not in them."""

import json
import tarfile
from pathlib import Path

import pytest

from support.canaries import forms_of_text, leaks
from swarmscripts import collector, records
from swarmscripts.errors import ScriptError

CANARY = "Canary-9d2e-containers"
ENVIRONMENT = [f"HF_TOKEN={CANARY}", f"https_proxy=http://u:{CANARY}@proxy:1", "SN_API_SERVER_PORT=30304", "PATH=/bin"]
INSPECTED = [{"Id": "c1", "Args": ["sl", "--db-password", CANARY], "Config": {"Env": ENVIRONMENT}}]
ENGINE = """#!/bin/sh
echo "$*" >> {folder}/calls
case "$*" in
"image ls --format {{{{.Tag}}}} hub/sn") echo 2.3.0; echo 0.1.0 ;;
"image ls --format {{{{.Tag}}}} hub/sl") echo 0.1.0 ;;
"container ls --all --quiet --filter ancestor=hub/sn:2.3.0") echo c1; echo c2 ;;
"container ls --all --quiet --filter ancestor=hub/sl:0.1.0") echo c3 ;;
"container ls --all --quiet --filter ancestor=user-env") echo c4 ;;
"container logs "*) echo "2026-11-29T20:00:00Z a line"; echo "password={canary}" >&2 ;;
"container inspect "*) cat {folder}/inspected ;;
"info") echo "the engine's facts"; exit 3 ;;
*" ls "*) ;;
*) echo "said: $*" ;;
esac
"""


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of archives, on a host with this engine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "inspected").write_text(json.dumps(INSPECTED, indent=4))
    (programs / "docker").write_text(ENGINE.format(folder=tmp_path, canary=CANARY))
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("SWARM_RUNTIME", "docker")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "logs"


def files(logs: Path) -> dict[str, str]:
    """The files of the one archive, by name."""
    (archive,) = logs.iterdir()
    assert archive.stat().st_mode & 0o077 == 0
    with tarfile.open(archive) as tar:
        named = {entry.name: tar.extractfile(entry) for entry in tar}
    with tarfile.open(archive) as tar:
        found = {entry.name: tar.extractfile(entry) for entry in tar if entry.isfile()}
        assert {name.split("/")[0] for name in named} == {archive.name.removesuffix(".tar.gz")}
        return {name.split("/")[1]: data.read().decode() for name, data in found.items() if data is not None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "ERROR: DOCKER HUB ARGUMENT IS EMPTY..Exiting!!"),
        (["hub"], "ERROR: Either mlimage or workspace should be passed..Exiting!!"),
        (["hub", "other=x"], "ERROR: Either mlimage or workspace should be passed..Exiting!!"),
        (["hub", "workspace=/missing"], "swarmLogCollector: workspace=/missing: there is no such folder"),
    ],
)
def test_the_log_collector_checks_its_arguments(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collector.run(words) == 1
    assert capsys.readouterr().err.startswith(message)


def test_an_archive_has_the_documented_files_and_no_secret(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.mkdir()
    (logs / "swarm_logs_old_20260101000000.tar.gz").touch()
    (logs / "others.txt").touch()
    assert collector.collect("hub/", "mlimage=user-env", logs) == 0
    (logs / "others.txt").unlink()
    found = files(logs)
    assert set(found) == {
        "out.log",
        *(f"sn_{part}2.3.0_{number}.log" for part in ("", "inspect_") for number in (1, 2)),
        *("sl_0.1.0_1.log", "sl_inspect_0.1.0_1.log", "user_1.log", "ml_inspect_1.log"),
    }
    assert [name for name, text in found.items() if leaks(text, {"x": forms_of_text(CANARY)})] == []
    assert found["user_1.log"] == "2026-11-29T20:00:00Z a line\npassword=[removed]\n"
    described = json.loads(found["sl_inspect_0.1.0_1.log"])[0]
    assert described["Args"] == ["sl", "--db-password", "[removed]"]
    assert described["Config"]["Env"] == [
        "HF_TOKEN=[removed]",
        "https_proxy=http://u:[removed]@proxy:1",
        "SN_API_SERVER_PORT=30304",
        "PATH=/bin",
    ]
    for said in ("$ date", "$ id\nuid=", "$ docker version\nsaid: version", "the engine's facts\n\n[exit status 3]"):
        assert said in found["out.log"]
    error = capsys.readouterr().err
    assert error == "-ERROR: No active SWOP container exists in this host!!\n"


def test_a_workspace_names_the_user_s_image_and_its_files_are_taken(logs: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "mnist"
    (workspace / "swci" / "taskdefs").mkdir(parents=True)
    (workspace / "swop").mkdir()
    (workspace / "swci" / "taskdefs" / "run.yaml").write_text("Name: run\nTaskType: RUN_SWARM\nOutcome: other\n")
    (workspace / "swci" / "taskdefs" / "user_env.yaml").write_text(
        "Name: env\nTaskType: MAKE_USER_CONTAINER\nOutcome : user-env # the image\n"
    )
    (workspace / "swop" / "swop1_profile.yaml").write_text(f"groupname: x\nslenvvars: [HF_TOKEN : {CANARY}]\n")
    assert collector.collect("hub", f"workspace={workspace}", logs) == 0
    found = files(logs)
    assert {"run.yaml", "user_env.yaml", "swop1_profile.yaml", "user_1.log"} <= set(found)
    assert "groupname: x" in found["swop1_profile.yaml"]
    assert CANARY not in found["swop1_profile.yaml"]


def test_nodes_that_are_processes_are_collected_by_the_swarm_command(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARM_RUNTIME", "process")
    with pytest.raises(ScriptError, match="has no record of a node"):
        collector.collect("hub", "mlimage=x", logs)
    swarm = tmp_path / "bin" / "swarm"
    swarm.write_text('#!/bin/sh\necho "$*"\n')
    swarm.chmod(0o755)
    folder = records.place("sn")
    folder.mkdir(parents=True)
    records.write(records.Record("sn", "sn", 1, "0"))
    assert collector.collect("hub", "mlimage=x", logs) == 0
    words = capfd.readouterr().out.split()
    assert words[:4] == ["logs", "collect", str(records.root()), "--output"]
    assert Path(words[4]).parent == logs
