"""The options that `run-sn`, `run-sl` and the others have in common, and what a node needs because of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from swarmscripts.errors import ScriptError
from swarmscripts.mounts import Mount
from swarmscripts.options import Given, Option

USR = "/platform/swarm/usr"
"""The user folder in images."""

IDENTITY = (
    Option("cacert", "FILE", "CA certificates to trust, in one file"),
    Option("capath", "DIR", "folder with the CA certificates of all organisations"),
    Option("cert", "FILE", "certificate of this node"),
    Option("key", "FILE", "private key of this node"),
    Option("key-passphrase-file", "FILE", "file whose first line decrypts that key"),
)
LICENSE = (
    Option("apls-ip", "HOST", "host of the license server; without one no license is needed"),
    Option("primary-apls-ip", "HOST", "the same"),
    Option("apls-port", "PORT", "port of the license server, by default 5814"),
    Option("primary-apls-port", "PORT", "the same"),
    Option("secondary-apls-ip", "HOST", "host of the license server that steps in for it"),
    Option("secondary-apls-port", "PORT", "its port, by default 5814"),
)
IMAGE = (
    Option("image", "NAME[:TAG]", "image to use"),
    Option("image-name", "NAME", "another name for the default image"),
    Option("image-tag", "TAG", "another tag for the default image"),
    Option("cmd", "WORDS", "words for the container's command"),
    Option("detach", help="run in the background", letter="d"),
)
COMMON = (
    *IDENTITY,
    *LICENSE,
    Option("socket-path", "PATH", "socket of a SPIFFE agent (Workload API), or VOLUME:PATH"),
    *IMAGE,
    Option("sidecar", "NAME", "another container beside this one, with options --NAME-…"),
    Option("sudo", help="call the container runtime by sudo"),
    Option("help", help="show this text"),
)
SIDECAR = (
    *IMAGE,
    Option("pid-main", help="share the processes of the main container"),
    Option("volumes-from-main", help="share the volumes of the main container"),
)

_LICENSE_SERVER = "SWARM_LICENSE_AUTOPASSJ_SERVER"
_LICENSE_VARIABLES = {
    f"{_LICENSE_SERVER}_PRIMARY_IP": ("apls-ip", "primary-apls-ip"),
    f"{_LICENSE_SERVER}_PRIMARY_PORT": ("apls-port", "primary-apls-port"),
    f"{_LICENSE_SERVER}_SECONDARY_IP": ("secondary-apls-ip",),
    f"{_LICENSE_SERVER}_SECONDARY_PORT": ("secondary-apls-port",),
}
_SPIFFE_VARIABLE = "SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH"
_SPIFFE_FOLDER = "/tmp/spire-agent"


def identity_files(given: Given) -> Iterator[tuple[str, Path]]:
    """The files of an identity by option, absolute. Raises `ScriptError` for one that is not there."""
    return files_of(given, IDENTITY)


def files_of(given: Given, options: Iterable[Option]) -> Iterator[tuple[str, Path]]:
    """The files that these options name, absolute, by option. Raises `ScriptError` for one that is not there."""
    for option in options:
        if not (text := given.last(option.name)):
            continue
        path, folder = Path(text), option.metavar == "DIR"
        if not (path.is_dir() if folder else path.is_file()):
            raise ScriptError(f"{text}: bad {'directory' if folder else 'file'}")
        yield option.name, path.absolute()


def license_variables(given: Given) -> Iterator[tuple[str, str]]:
    """The variables for the license servers that are named."""
    for variable, options in _LICENSE_VARIABLES.items():
        if value := given.last(*options):
            yield variable, value


def common_variables(given: Given) -> list[tuple[str, str]]:
    """The container's variables for identity, license servers and SPIFFE. Raises `ScriptError`."""
    found = [(f"SWARM_ID_{name.upper().replace('-', '_')}", str(path)) for name, path in identity_files(given)]
    found += license_variables(given)
    if "socket-path" in given:
        found.append((_SPIFFE_VARIABLE, _spiffe(given.last("socket-path"))[1]))
    return found


def common_mounts(given: Given) -> list[Mount]:
    """The container's mounts for identity, at the same paths as on the host, and SPIFFE. Raises `ScriptError`."""
    found = [Mount(str(path), str(path), "ro") for _, path in identity_files(given)]
    if "socket-path" in given:
        found.append(_spiffe(given.last("socket-path"))[0])
    return found


def host_and_port(service: str, default: str) -> tuple[str, str]:
    """`FQDN[:port]` in its parts."""
    host, _, port = service.partition(":")
    return host, port or default


def present(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    """The variables that have a value."""
    return [(name, value) for name, value in pairs if value]


def user_folder(given: Given) -> str:
    """`--usr-dir`, absolute; empty where it is not given. Raises `ScriptError`."""
    text = given.last("usr-dir")
    if text and not Path(text).is_dir():
        raise ScriptError(f"--usr-dir: {text}: bad path")
    return str(Path(text).absolute()) if text else ""


def file_in_user_folder(given: Given, option: str, kind: str) -> None:
    """Raises `ScriptError` unless the file that an option names is in the user folder."""
    name, folder = given.last(option), user_folder(given)
    if name and not Path(folder, name).is_file():
        raise ScriptError(f"--{option}: {name}: bad {kind}")


def spiffe_socket(text: str) -> Path:
    """The absolute path of a SPIFFE agent's socket on this host. Raises `ScriptError` where there is none."""
    if not Path(text).is_socket():
        raise ScriptError(f"{text}: bad socket path")
    return Path(text).absolute()


def _spiffe(text: str) -> tuple[Mount, str]:
    """The mount of the socket, or of the volume that has it, and the socket's path in the container."""
    volume, colon, path = text.partition(":")
    if colon and volume and path and "/" not in volume:
        return Mount(volume, _SPIFFE_FOLDER), f"{_SPIFFE_FOLDER}/{path.lstrip('/')}"
    socket = spiffe_socket(text)
    return Mount(str(socket), f"{_SPIFFE_FOLDER}/{socket.name}"), f"{_SPIFFE_FOLDER}/{socket.name}"
