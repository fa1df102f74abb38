"""`stop-swarm` and `uninstall` on a host with a container runtime."""

from pathlib import Path

import pytest

from scripts.conftest import FakeRuntime
from swarmscripts import VERSION, stop, uninstall
from swarmscripts.errors import ScriptError


@pytest.fixture(autouse=True)
def no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_kind_of_nodes_is_stopped_and_removed(docker: FakeRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    docker.list_running("a", "b")

    assert stop.run(["--SL"]) == 0

    assert lines(capsys) == [
        "Stopping all running Swarm Learning containers",
        "Removing all Swarm Learning containers",
    ]
    of_image = ["--filter", f"ancestor=swarmlearning/sl:{VERSION}"]
    assert docker.calls == [
        ["container", "ls", "--quiet", *of_image],
        ["container", "stop", "a", "b"],
        ["container", "ls", "--all", "--quiet", *of_image],
        ["container", "rm", "a", "b"],
    ]


def test_stopped_containers_are_kept_on_request(docker: FakeRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    docker.list_running("a")

    assert stop.run(["--sn", "--keep"]) == 0

    assert lines(capsys) == ["Stopping all running Swarm Network containers"]
    assert docker.calls[-1] == ["container", "stop", "a"]


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize("words", [[], ["--all"]])
def test_all_kinds(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert stop.run(words) == 0

    assert lines(capsys) == [
        text
        for title in ("Swarm Learning", "Swarm Network", "Swarm Command Interface", "Swarm Operator")
        for text in (f"No running {title} containers found", f"No {title} containers found")
    ]


def test_the_web_interface_is_ended_only_where_it_is_named(
    docker: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stop.run(["--slm-ui"]) == 0
    assert [call[-1] for call in docker.calls] == [f"ancestor=swarmlearning/slm-ui:{VERSION}"] * 2
    assert stop.run(["--all"]) == 0
    assert sum("slm-ui" in " ".join(call) for call in docker.calls) == 2
    assert capsys.readouterr().out.startswith("No running Swarm Learning UI containers found\n")


@pytest.mark.parametrize("flag", ["--ml", "sl", "-x"])
def test_an_invalid_flag(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop.run([flag]) == 1
    assert capsys.readouterr().err.startswith(f"Invalid flag: {flag}\nUsage: stop-swarm")


def test_uninstall_removes_images_and_the_installation(docker: FakeRuntime, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    for name in ("docs", "examples", "scripts", "lib", "workspace"):
        (installed / name).mkdir(parents=True)
    (installed / "README.md").touch()

    assert uninstall.uninstall(installed) == 0

    assert [path.name for path in installed.iterdir()] == ["workspace"]
    assert [call for call in docker.calls if call[0] == "image"] == [
        ["image", "ls", "--quiet", f"swarmlearning/{kind}:{VERSION}"] for kind in ("sl", "sn", "swci", "swop", "slm-ui")
    ]


def test_uninstall_does_not_remove_the_sources() -> None:
    with pytest.raises(ScriptError, match="nothing was removed"):
        uninstall.uninstall(Path(__file__).parents[2])
