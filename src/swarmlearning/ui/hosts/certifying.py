"""Certificates of nodes on hosts: a key is made on its host and stays there; requests and certificates travel."""

import shlex
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from cryptography import x509

from swarmlearning.identity.certificates import CertificateError, load_certificate, to_pem
from swarmlearning.identity.office import Office
from swarmlearning.identity.requests import MAX_REQUEST, Request, read_request
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.machine import Machine, checked
from swarmlearning.ui.hosts.nodes import Files, NodeSpec

DAYS: Final = 365
MOST_CERTIFICATE: Final = 64 * 1024
WAITING: Final = 4
"""The exit status of `swarm join` while the office has not signed."""

Sign: TypeAlias = Callable[[Request], Awaitable[x509.Certificate]]
"""Issues the certificate that a request asks for, or asks somebody. Raises `UserError`."""

_REQUEST: Final = """
set -eu; umask 077
swarm=$1 node=$2 folder=$3 renew=$4 request=$5 certificate=$6; shift 6
mkdir -p "$folder"
if [ -f "$certificate" ] && [ "$renew" != renew ]; then exit 0; fi
[ -f "$request" ] || "$swarm" cert request "$node" --out "$folder" "$@" >&2
cat "$request"
"""

_INSTALL: Final = """
set -eu; umask 077
swarm=$1 node=$2 folder=$3; shift 3
"$swarm" cert install "$node" "$folder/issued.pem" --out "$folder" --authority "$folder/authority.pem"
rm -f "$folder/issued.pem" "$folder/authority.pem"
"""

_JOIN: Final = """
set -u; umask 077
swarm=$1 folder=$2 wait=$3; shift 3
mkdir -p "$folder"
"$swarm" join - --out "$folder" --wait "$wait" "$@"
"""


async def requested(machine: Machine, layout: Layout, spec: NodeSpec, *, renew: bool = False) -> Request | None:
    """The node's request, made on its host with a new key; None where it has its certificate already.

    One that waits for its certificate is asked for again. Raises `MachineError` and `CertificateError`, also for a
    request that is another one's: a host is not believed.
    """
    files = Files.of(layout, spec.name)
    words = (layout.swarm, spec.name, files.certificates, "renew" if renew else "", files.request, files.certificate)
    ran = await machine.run(_REQUEST, *words, *_names(spec), most=MAX_REQUEST)
    answer = checked(machine, ran, f"making the key of {spec.name}").output
    if not answer.strip():
        return None
    found = read_request(answer)
    if found.common_name.upper() != spec.name.upper():
        raise CertificateError(
            f"{machine.name}: asked for the request of {spec.name}, it gives one for {found.common_name}"
        )
    if extra := [each for each in (*found.dns, *found.ips) if each not in (*spec.names, *spec.addresses)]:
        raise CertificateError(
            f"{machine.name}: the request of {spec.name} names {extra[0]}, which nobody asked for; remove "
            f"{files.request} there, and try again"
        )
    return found._replace(common_name=spec.name)


async def certified(
    machine: Machine, layout: Layout, spec: NodeSpec, sign: Sign, authority: x509.Certificate, *, renew: bool = False
) -> bool:
    """Gives a node its certificate, unless it has one; returns whether it got one. A running node follows.

    Raises `MachineError`, `CertificateError` and what `sign` raises.
    """
    request = await requested(machine, layout, spec, renew=renew)
    if request is None:
        return False
    certificate = await sign(request)
    folder = Files.of(layout, spec.name).certificates
    await machine.put(to_pem(certificate).encode(), f"{folder}/issued.pem", 0o644)
    await machine.put(to_pem(authority).encode(), f"{folder}/authority.pem", 0o644)
    ran = await machine.run(_INSTALL, layout.swarm, spec.name, folder)
    checked(machine, ran, f"installing the certificate of {spec.name}")
    return True


async def joined(machine: Machine, layout: Layout, spec: NodeSpec, code: str, seconds: int = 600) -> bool:
    """Has a node join by the code of its invitation, which stands in no list of processes there.

    Returns whether it has its certificate; if not, the office has not signed within that time, and the same call goes
    on later. Raises `MachineError`.
    """
    words = (layout.swarm, Files.of(layout, spec.name).certificates, str(seconds))
    ran = await machine.run(_JOIN, *words, *_names(spec), secret=code, seconds=seconds + 60)
    if ran.status == WAITING:
        return False
    checked(machine, ran, f"joining of {spec.name}")
    return True


async def certificate_of(machine: Machine, layout: Layout, name: str) -> x509.Certificate | None:
    """The certificate that a node has now, to show when it expires. Raises `MachineError` and `CertificateError`."""
    path = Files.of(layout, name).certificate
    ran = await machine.run('[ ! -f "$1" ] || cat "$1"', path, most=MOST_CERTIFICATE)
    data = checked(machine, ran, f"reading the certificate of {name}").output
    return load_certificate(data) if data.strip() else None


def office_signs(office: Office, days: int = DAYS) -> Sign:
    """An office whose CA is at hand, and which signs what the engine itself has asked for."""

    async def sign(request: Request) -> x509.Certificate:
        return office.sign(request, days)

    return sign


def join_line(code: str, addresses: tuple[str, ...] = ()) -> str:
    """The command for a host that nobody can log in to; the code in it is a secret until it is used."""
    return shlex.join(("swarm", "join", code, *(word for each in addresses for word in ("--host-ip", each))))


def _names(spec: NodeSpec) -> tuple[str, ...]:
    """The options that name a node's addresses and host names."""
    addresses = (word for each in spec.addresses for word in ("--host-ip", each))
    return (*addresses, *(word for each in spec.names for word in ("--dns", each)))
