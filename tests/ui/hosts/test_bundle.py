"""Bundles as they are read: what is in them, and what goes where."""

import hashlib
import sys
from pathlib import Path

import msgspec
import pytest

from support.bundles import make_bundle
from swarmlearning.ui.hosts.bundle import Bundle, BundleError
from swarmlearning.ui.hosts.facts import Facts, Python
from swarmlearning.ui.hosts.wheelhouse import download_command, fits, pip_command, read_pythons

OWN = sys.version_info[:2]


@pytest.fixture
def folder(tmp_path: Path, pip: Path) -> Path:
    return make_bundle(tmp_path / "bundle", "1.2.3", pip)


def test_a_bundle_is_read_and_people_s_pages_stay_here(folder: Path) -> None:
    bundle = Bundle.read(folder)
    assert bundle.version == "1.2.3"
    assert bundle.name.startswith("1.2.3-")
    goes = {each.path for each in bundle.files_for(OWN, "x86_64")}
    assert {path.split("/")[0] for path in goes} == {"bin", "requirements.txt", "scripts", "wheelhouse", "wheels"}
    digest = hashlib.sha256((folder / "wheels" / "swarmlearning-1.2.3-py3-none-any.whl").read_bytes()).hexdigest()
    assert f"swarmlearning==1.2.3 --hash=sha256:{digest}\n" in bundle.own_requirements()
    assert bundle.own_requirements().count("\n") == 2


def test_bundles_of_one_version_with_other_contents_have_names_of_their_own(tmp_path: Path, pip: Path) -> None:
    one = Bundle.read(make_bundle(tmp_path / "one", "1.2.3", pip))
    other = Bundle.read(make_bundle(tmp_path / "other", "1.2.3", pip, "broken"))
    assert one.version == other.version
    assert one.name != other.name


def test_a_program_goes_only_where_it_can_run(folder: Path) -> None:
    program = b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little")
    (folder / "bin" / "etcd").write_bytes(program)
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    sums = [line for line in sums if not line.endswith("bin/etcd")]
    sums.append(f"{hashlib.sha256(program).hexdigest()}  bin/etcd")
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    bundle = Bundle.read(folder)
    assert "bin/etcd" in {each.path for each in bundle.files_for(OWN, "x86_64")}
    assert "bin/etcd" not in {each.path for each in bundle.files_for(OWN, "aarch64")}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0" * 64 + "  ../outside", "is no digest and path"),
        ("0" * 64 + "  /etc/passwd", "is no digest and path"),
        ("0" * 64 + "  a/../../b", "is no digest and path"),
        ("0" * 64 + "  a//b", "is no digest and path"),
        ("hello", "is no digest and path"),
        ("0" * 64 + "  missing", "cannot be read"),
        ("0" * 64 + "  requirements.txt", "is not the file that the bundle was made with"),
    ],
)
def test_a_bundle_that_was_changed_is_refused(folder: Path, line: str, why: str) -> None:
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BundleError, match=why):
        Bundle.read(folder)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no SHA256SUMS \(make bundle\)"):
        Bundle.read(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("")
    with pytest.raises(BundleError, match="it has 0 wheels of swarmlearning"):
        Bundle.read(tmp_path)


def test_the_interpreter_is_one_that_there_are_packages_for(folder: Path) -> None:
    bundle = for_two_versions(Bundle.read(folder))
    old, new, newest = (Python(f"/usr/bin/python3.{minor}", (3, minor), True) for minor in (11, 12, 14))
    assert bundle.python(Facts(machine="x86_64", pythons=(newest, old, new))) == new
    with pytest.raises(
        BundleError, match=r"packages for Python 3\.11 on x86_64, 3\.12 on x86_64, and the host has 3\.14"
    ):
        bundle.python(Facts(machine="x86_64", pythons=(newest,)))
    with pytest.raises(BundleError, match=r"3\.11 on aarch64"):
        bundle.python(Facts(machine="aarch64", pythons=(old,)))


def for_two_versions(bundle: Bundle) -> Bundle:
    packages = (((3, 11), "x86_64"), ((3, 12), "x86_64"))
    return Bundle(bundle.folder, bundle.version, bundle.files, packages)


@pytest.mark.parametrize(
    ("wheel", "fit", "not_fit"),
    [
        ("a-1-py3-none-any.whl", [(3, 11), (3, 14)], []),
        ("a-1-py2.py3-none-any.whl", [(3, 11)], []),
        ("a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", [(3, 11)], [(3, 12)]),
        ("a-1-cp310-abi3-manylinux_2_28_x86_64.whl", [(3, 11), (3, 13)], []),
        ("a-1-cp313-abi3-manylinux_2_28_x86_64.whl", [(3, 13)], [(3, 12)]),
        ("a-1-1-cp311-cp311-manylinux_2_28_x86_64.whl", [(3, 11)], [(3, 10)]),
        ("a-1-cp311-cp311-manylinux_2_28_aarch64.whl", [], [(3, 11)]),
        ("a-1-cp311-cp311-win_amd64.whl", [], [(3, 11)]),
        ("PYTHONS", [], [(3, 11)]),
    ],
)
def test_which_wheels_fit(wheel: str, fit: list[tuple[int, int]], not_fit: list[tuple[int, int]]) -> None:
    assert all(fits(wheel, version, "x86_64") for version in fit)
    assert not any(fits(wheel, version, "x86_64") for version in not_fit)


def test_packages_are_downloaded_with_their_hashes_as_wheels_only(tmp_path: Path) -> None:
    command = download_command(Path("requirements.txt"), tmp_path, (3, 12))
    assert "--require-hashes" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert command[command.index("--python-version") + 1] == "3.12"
    assert "manylinux_2_28_x86_64" in command
    assert "manylinux_2_29_x86_64" not in command
    assert "--no-deps" in pip_command(tmp_path)


def test_the_note_of_a_wheelhouse() -> None:
    assert list(read_pythons("3.11 x86_64\n3.12 aarch64\nnonsense\n3.x y\n")) == [
        ((3, 11), "x86_64"),
        ((3, 12), "aarch64"),
    ]


def test_facts_can_be_shown() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Facts()), type=Facts) == Facts()
