"""Certificates of nodes on hosts: a key is made on its host and stays there; requests and certificates travel."""

import shlex
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final, TypeAlias

from cryptography import x509

from swarmlearning.identity.ca import names_of
from swarmlearning.identity.certificates import CertificateError, load_certificate, to_pem
from swarmlearning.identity.office import Office
from swarmlearning.identity.requests import MAX_REQUEST, Request, read_request
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.machine import Machine, checked
from swarmlearning.ui.hosts.nodes import Wanted
from swarmlearning.views.names import displayed

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


async def requested(machine: Machine, layout: Layout, wanted: Wanted, *, renew: bool = False) -> Request | None:
    """The node's request, made on its host with a new key; None where it has its certificate already.

    One that waits for its certificate is asked for again. Raises `MachineError` and `CertificateError`, also for a
    request that is another one's: a host is not believed.
    """
    request = wanted.path("request")
    words = (layout.swarm, wanted.node, wanted.folder, "renew" if renew else "", request, wanted.path("cert"))
    ran = await machine.run(_REQUEST, *words, *_names(wanted), most=MAX_REQUEST)
    answer = checked(machine, ran, f"making the key of {wanted.node}").output
    if not answer.strip():
        return None
    found = read_request(answer)
    if found.common_name.upper() != wanted.node.upper():
        raise CertificateError(f"{machine.name}: its request for {wanted.node} is one for {found.common_name}")
    known = {*(name.lower() for name in wanted.names), *(str(ip_address(each)) for each in wanted.addresses)}
    if extra := [each for each in (*found.dns, *found.ips) if each.lower() not in known]:
        raise CertificateError(
            f"{machine.name}: the request of {wanted.node} names {displayed(extra[0])}, which nobody asked for; remove "
            f"{request} there, and try again"
        )
    return found._replace(common_name=wanted.node)


async def certified(
    machine: Machine, layout: Layout, wanted: Wanted, sign: Sign, authority: x509.Certificate, *, renew: bool = False
) -> bool:
    """Gives a node its certificate, unless it has one; returns whether it got one. A running node follows.

    Raises `MachineError`, `CertificateError` and what `sign` raises.
    """
    request = await requested(machine, layout, wanted, renew=renew)
    if request is None:
        return False
    await installed(machine, layout, wanted, await sign(request), authority)
    return True


async def installed(
    machine: Machine, layout: Layout, wanted: Wanted, certificate: x509.Certificate, authority: x509.Certificate
) -> None:
    """Puts a certificate in place beside the key on the host that it was issued for. Raises `MachineError`."""
    await machine.put(to_pem(certificate).encode(), f"{wanted.folder}/issued.pem", 0o644)
    await machine.put(to_pem(authority).encode(), f"{wanted.folder}/authority.pem", 0o644)
    ran = await machine.run(_INSTALL, layout.swarm, wanted.node, wanted.folder)
    checked(machine, ran, f"installing the certificate of {wanted.node}")


async def has_key(machine: Machine, wanted: Wanted) -> bool:
    """Whether the host has a key for this node, of a request or of a certificate. Raises `MachineError`."""
    stem = f"{wanted.folder}/{wanted.node.lower()}"
    script = 'if [ -f "$1" ] || [ -f "$2" ]; then echo yes; fi'
    ran = await machine.run(script, f"{stem}-request-key.pem", f"{stem}-key.pem")
    return checked(machine, ran, f"looking for the key of {wanted.node}").text.strip() == "yes"


async def joined(machine: Machine, layout: Layout, wanted: Wanted, code: str, seconds: int = 600) -> bool:
    """Has a node join by the code of its invitation, which stands in no list of processes there.

    Returns whether it has its certificate; if not, the office has not signed within that time, and the same call goes
    on later. Raises `MachineError`.
    """
    words = (layout.swarm, wanted.folder, str(seconds))
    ran = await machine.run(_JOIN, *words, *_names(wanted), secret=code, seconds=seconds + 60)
    if ran.status == WAITING:
        return False
    checked(machine, ran, f"joining of {wanted.node}")
    return True


async def certificate_of(machine: Machine, wanted: Wanted) -> x509.Certificate | None:
    """The certificate that a node has now, to show when it expires. Raises `MachineError` and `CertificateError`."""
    ran = await machine.run('[ ! -f "$1" ] || cat "$1"', wanted.path("cert"), most=MOST_CERTIFICATE)
    data = checked(machine, ran, f"reading the certificate of {wanted.node}").output
    return load_certificate(data) if data.strip() else None


async def names_all(machine: Machine, wanted: Wanted) -> bool:
    """Whether the certificate that a node has names all that is wanted; also where it has none yet. Raises
    `MachineError` and `CertificateError`."""
    found = await certificate_of(machine, wanted)
    if found is None:
        return True
    dns, ips = names_of(found)
    known = {each.lower() for each in (*dns, *ips)}
    return known.issuperset({*(each.lower() for each in wanted.names), *(str(ip_address(a)) for a in wanted.addresses)})


def office_signs(office: Office, days: int = DAYS) -> Sign:
    """An office whose CA is at hand, and which signs what the engine itself has asked for."""

    async def sign(request: Request) -> x509.Certificate:
        return office.sign(request, days)

    return sign


def join_line(code: str, addresses: tuple[str, ...] = ()) -> str:
    """The command for a host that nobody can log in to; the code in it is a secret until it is used."""
    return shlex.join(("swarm", "join", code, *(word for each in addresses for word in ("--host-ip", each))))


def _names(wanted: Wanted) -> tuple[str, ...]:
    """The options that name a node's addresses and host names."""
    addresses = (word for each in wanted.addresses for word in ("--host-ip", each))
    return (*addresses, *(word for each in wanted.names for word in ("--dns", each)))
