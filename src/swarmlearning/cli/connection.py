"""Options of every command that talks to the network through an SN, declared once."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from swarmlearning.address import join
from swarmlearning.cli.options import CaCert, CaPath, Cert, DataDir, Key, data_directory, fail, load_identity
from swarmlearning.identity.identity import Identity

P = ParamSpec("P")

SnIp = Annotated[str, typer.Option(help="Address of any SN of the network.")]
SnApiPort = Annotated[int, typer.Option(help="API port of that SN.")]


@dataclass(frozen=True)
class Connection:
    """Which SN a command talks to, as whom, and where the operator's UID is kept."""

    address: str
    identity: Identity
    directory: Path


def connected(program: str) -> Callable[[Callable[Concatenate[Connection, P], None]], Callable[..., None]]:
    """Gives a command the connection options, and itself the `Connection` that they name.

    A `UserError` of the command is printed as `program: message`, exit status 1.
    """

    def decorate(command: Callable[Concatenate[Connection, P], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*args: Any, **given: Any) -> None:
            taken = {name: given.pop(name) for name in _OPTIONS}
            try:
                command(_connection(**taken), *args, **given)
            except typer.Exit:
                raise
            except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
                fail(program, error)

        own = list(inspect.signature(command).parameters.values())[1:]
        run.__signature__ = inspect.Signature([*own, *_OPTIONS.values()])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in (*own, *_OPTIONS.values())}
        return run

    return decorate


def _connection(
    sn_ip: SnIp = "127.0.0.1",
    sn_api_port: SnApiPort = 30304,
    data_dir: DataDir = None,
    cacert: CaCert = None,
    capath: CaPath = None,
    cert: Cert = None,
    key: Key = None,
) -> Connection:
    identity = load_identity(cacert, capath, cert, key)
    return Connection(join(sn_ip, sn_api_port), identity, data_directory(data_dir, "operator"))


_OPTIONS = {
    name: each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    for name, each in inspect.signature(_connection).parameters.items()
}
