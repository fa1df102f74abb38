"""Names on the command line of certificates: of nodes, CAs, hosts."""

import re
from ipaddress import ip_address
from typing import Final

import typer

from swarmlearning.identity.certificates import ROLES
from swarmlearning.identity.requests import NAME
from swarmlearning.license.servers import ROLE as LICENSE

KINDS: Final = (*ROLES, LICENSE)
_NODE = re.compile(rf"({'|'.join(KINDS)})-({NAME.pattern})", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def node_name(text: str) -> str:
    """A node's name, its role in upper case. Raises `typer.BadParameter`."""
    match = _NODE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r}: a node's name begins with its role ({', '.join(f'{role}-' for role in KINDS)}) "
            "and goes on with letters, digits, '.', '_' or '-', such as SL-1"
        )
    return f"{match[1].upper()}-{match[2]}"


def authority_name(text: str) -> str:
    """A CA's name. Raises `typer.BadParameter`."""
    if NAME.fullmatch(text) is None:
        raise typer.BadParameter(f"{text!r}: use letters, digits, '.', '_' or '-', such as CA-2")
    return text


def ip(text: str) -> str:
    """An IP address. Raises `typer.BadParameter`."""
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an IP address; host names go to --dns") from error


def host_name(text: str) -> str:
    """A host name. Raises `typer.BadParameter`."""
    if _HOST.fullmatch(text) is None:
        raise typer.BadParameter(f"{text!r} is not a host name; IP addresses go to --host-ip")
    return text
