"""Which runtime of a host is used, and which options it has."""

from pathlib import Path

import pytest

from scripts.conftest import DATA
from swarmscripts.dockeroptions import docker_options
from swarmscripts.errors import ScriptError
from swarmscripts.runtime import find_runtime, options_in


def test_the_options_in_dockers_help_are_those_built_in() -> None:
    found = options_in((DATA / "docker-create.txt").read_text())

    assert sorted((each.name, each.letter, each.is_flag) for each in found) == sorted(
        (each.name, each.letter, each.is_flag) for each in docker_options()
    )


def test_the_options_in_podmans_help() -> None:
    found = {each.name: each for each in options_in((DATA / "podman-create.txt").read_text())}

    assert len(found) > 120
    assert [name for name in ("env", "volume", "blkio-weight-device", "arch") if found[name].is_flag] == []
    assert [name for name in ("tty", "rm", "replace", "privileged") if not found[name].is_flag] == []
    assert found["hostname"].letter == "h"
    assert "help" not in found


@pytest.mark.parametrize(
    ("programs", "chosen", "expected"),
    [
        (["docker", "podman"], "", "docker"),
        (["docker", "podman"], "podman", "podman"),
        (["podman"], "", "podman"),
        (["podman"], "process", None),
        ([], "", None),
    ],
)
def test_the_runtime_of_a_host(tmp_path: Path, programs: list[str], chosen: str, expected: str | None) -> None:
    for name in programs:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)

    found = find_runtime({"PATH": str(tmp_path), "SWARM_RUNTIME": chosen, "DOCKER_HOST": "unix:///nowhere"})

    assert (found.name if found else None) == expected


def test_a_runtime_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="there is no docker on this host's PATH"):
        find_runtime({"PATH": str(tmp_path), "SWARM_RUNTIME": "docker"})
    with pytest.raises(ScriptError, match="choose one of docker, podman, process"):
        find_runtime({"PATH": str(tmp_path), "SWARM_RUNTIME": "lxc"})
