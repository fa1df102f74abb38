"""What is locked, and what is packed."""

import re
import tarfile
from pathlib import Path

import pytest

import bundle
import images
import lock
from swarmlearning import __version__
from swarmlearning.ui.hosts.wheelhouse import NOTE

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
LOCKED = [PACKAGING / "requirements.txt", PACKAGING / "requirements-client.txt"]


def locked(path: Path) -> dict[str, str]:
    """The versions by name, of Python 3.11."""
    found = re.findall(r"^([a-z0-9-]+)==(\S+)(?: ; (.*?))? \\$", path.read_text(), re.MULTILINE)
    return {name: version for name, version, marker in found if ">= '3.12'" not in marker}


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.name)
def test_every_package_has_hashes_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) >= 5
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_all_dependencies_are_locked() -> None:
    for path, projects in zip(LOCKED, [(lock.PROJECT, lock.CLIENT_PROJECT), (lock.CLIENT_PROJECT,)], strict=True):
        names = {re.split(r"[<>=\[]", each)[0] for each in lock.requirements(*projects)}
        assert names <= locked(path).keys(), "make lock"


def test_the_client_has_the_versions_of_the_nodes() -> None:
    nodes, client = map(locked, LOCKED)
    assert client.items() <= nodes.items()


def test_all_that_the_bundle_is_to_contain_exists() -> None:
    assert [name for name, source in bundle.CONTENT.items() if not source.exists()] == []
    assert bundle.version() == __version__


def test_an_archive_depends_on_the_contents_alone(tmp_path: Path) -> None:
    archives = []
    for place in ("one", "two"):
        folder = tmp_path / place / "swarm"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "run").write_text("run")
        (folder / "bin" / "run").chmod(0o755 if place == "one" else 0o700)
        archives.append(tmp_path / f"{place}.tar.gz")
        bundle.pack(folder, archives[-1])
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        assert [(entry.name, entry.mode) for entry in tar] == [("swarm/bin/run", 0o755)]


def test_a_build_names_target_tag_base_and_context(tmp_path: Path) -> None:
    command = images.build_command(["podman"], "sn", tmp_path, "base:1")
    assert command == [
        *("podman", "build", "--target", "sn", "--tag", f"swarmlearning/sn:{__version__}", "--format", "docker"),
        *("--layers", "--build-arg", "BASE=base:1", "--file", f"{tmp_path}/images/Dockerfile", str(tmp_path)),
    ]


def test_packages_are_downloaded_once_for_what_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = []

    def fill(requirements: Path, target: Path, pythons: object) -> None:
        target.mkdir(parents=True)
        filled.append(pythons)
        if len(filled) > 1:
            (target / NOTE).touch()

    monkeypatch.setattr(bundle, "KEPT", tmp_path)
    monkeypatch.setattr(bundle, "fill", fill)
    first = bundle.packages([(3, 11)])
    assert bundle.packages([(3, 11)]) == bundle.packages([(3, 11)]) == first
    assert bundle.packages([(3, 12)]) != first
    assert filled == [[(3, 11)], [(3, 11)], [(3, 12)]]  # the first was not whole
