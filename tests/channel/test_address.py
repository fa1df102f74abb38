import os
import socket
import sys
from pathlib import Path

import pytest

from swarmlearning.channel.address import LONGEST, connect, short_path

linux = pytest.mark.skipif(sys.platform != "linux", reason="long paths go through /proc")


def deep(directory: Path, length: int = 200) -> Path:
    """A directory whose path alone has at least `length` bytes."""
    while len(os.fsencode(directory)) < length:
        directory /= "d" * 50
    directory.mkdir(parents=True)
    return directory


def round_trip(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with short_path(path) as address:
            listener.bind(address)
        listener.listen(1)
        with connect(path) as client:
            server, _ = listener.accept()
            with server:
                server.sendall(b"hello")
                assert client.gettimeout() is None
                return client.recv(5, socket.MSG_WAITALL)


@linux
def test_a_socket_in_a_directory_with_a_very_long_path_can_be_used(tmp_path: Path) -> None:
    path = deep(tmp_path) / "channel.sock"
    with pytest.raises(OSError, match="too long"), socket.socket(socket.AF_UNIX) as direct:
        direct.bind(str(path))
    assert round_trip(path) == b"hello"
    assert path.is_socket()


@linux
def test_socket_paths_just_below_and_above_the_kernel_s_limit_can_be_used(tmp_path: Path) -> None:
    for length in range(LONGEST - 2, LONGEST + 3):
        directory = tmp_path / f"{length}-"
        directory /= "d" * (length - len(os.fsencode(directory)) - len("/") - len("/s"))
        directory.mkdir(parents=True)
        path = directory / "s"
        assert len(os.fsencode(path)) == length
        assert round_trip(path) == b"hello"


def open_descriptors() -> set[tuple[str, str]]:
    links = ((link.name, link) for link in Path("/proc/self/fd").iterdir())
    return {(name, str(link.readlink())) for name, link in links if link.is_symlink()}


@linux
def test_using_a_socket_with_a_long_path_leaves_no_descriptor_open(tmp_path: Path) -> None:
    directory = deep(tmp_path)
    before = open_descriptors()
    round_trip(directory / "channel.sock")
    with pytest.raises(FileNotFoundError):
        connect(directory / "nobody.sock")
    assert open_descriptors() == before


@linux
def test_a_socket_name_that_is_itself_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"name .* is too long"):
        connect(deep(tmp_path) / ("n" * 120))


@pytest.mark.parametrize("name", ["missing", pytest.param("missing" * 30, marks=linux)])
def test_connecting_to_a_socket_in_a_missing_directory_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        connect(tmp_path / name / "channel.sock")


def test_connecting_to_a_socket_on_which_nobody_listens_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "channel.sock"
    with socket.socket(socket.AF_UNIX) as listener, short_path(path) as address:
        listener.bind(address)
    with pytest.raises(ConnectionRefusedError):
        connect(path)
