"""The `python` that a started program finds."""

import shutil
import sys
from pathlib import Path

import pytest

from swarmlearning.supervise.environment import search_path

BESIDE = str(Path(sys.executable).parent)


def test_the_folder_of_this_interpreter_comes_first_in_the_path() -> None:
    path = search_path({"PATH": "/usr/bin:/bin"})
    assert path == f"{BESIDE}:/usr/bin:/bin"
    assert shutil.which("python", path=path) == str(Path(BESIDE) / "python")


@pytest.mark.parametrize("active", [{"VIRTUAL_ENV": "/other/venv"}, {"CONDA_PREFIX": "/conda/envs/mine"}])
def test_another_active_environment_keeps_its_place_in_the_path(active: dict[str, str]) -> None:
    assert search_path({"PATH": "/other/bin:/bin", **active}) == "/other/bin:/bin"


@pytest.mark.parametrize(
    "active",
    [{"VIRTUAL_ENV": sys.prefix}, {"CONDA_PREFIX": "/conda", "CONDA_DEFAULT_ENV": "base"}],
)
def test_this_environment_and_condas_base_are_no_other_environment(active: dict[str, str]) -> None:
    assert search_path({"PATH": "/bin", **active}).startswith(BESIDE)


def test_an_empty_path_becomes_the_folder_of_this_interpreter_alone() -> None:
    assert search_path({"PATH": ""}) == BESIDE
