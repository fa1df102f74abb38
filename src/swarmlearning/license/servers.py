"""Where license servers are, and which certificates are theirs."""

from typing import NamedTuple

from cryptography import x509

from swarmlearning.address import join, require_host, split
from swarmlearning.identity.certificates import CertificateError, common_name, load_der, subject_of
from swarmlearning.transport.parties import Credential

ROLE = "LICENSE"
PORT = 5814
VARIABLE = "SWARM_LICENSE_AUTOPASSJ_SERVER"
"""The beginning of the variables that name the servers."""


class LicenseServers(NamedTuple):
    """The servers that a node takes its token from, as `host:port`: none, the primary, or also the secondary."""

    addresses: tuple[str, ...] = ()

    @classmethod
    def named(
        cls, host: str, port: int | None, secondary_host: str = "", secondary_port: int | None = None
    ) -> "LicenseServers":
        """Those at these hosts, each empty where there is none. Raises `AddressError`."""
        given = ((host, port), (secondary_host, secondary_port))
        return cls(tuple(_address(name, number or PORT) for name, number in given if name))

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which a node that is started gets them."""
        found = dict[str, str]()
        for place, address in zip(("PRIMARY", "SECONDARY"), self.addresses, strict=False):
            host, port = split(address)
            found |= {f"{VARIABLE}_{place}_IP": host, f"{VARIABLE}_{place}_PORT": str(port)}
        return found


NO_SERVERS = LicenseServers()


def server_fault(credential: Credential) -> str:
    """Why a certificate is not that of a license server; empty when it is.

    It has a common name that begins with `LICENSE-`, or a SPIFFE ID that ends with `/license`. In the swarm's network
    that is no role: it opens nothing there, and no node's certificate makes a license server.
    """
    try:
        return server_certificate_fault(load_der(credential.certificate))
    except CertificateError as error:
        return str(error)


def server_certificate_fault(certificate: x509.Certificate) -> str:
    """The same, of a certificate."""
    try:
        subject = subject_of(certificate)
    except CertificateError as error:
        return str(error)
    spiffe = subject.startswith("spiffe://")
    word = subject.rpartition("/")[2] if spiffe else common_name(certificate).partition("-")[0]
    if word.upper() == ROLE and (spiffe or "-" in common_name(certificate)):
        return ""
    return f"its certificate {subject!r} is not for a license server (CN={ROLE}-1, or spiffe://…/{ROLE.lower()})"


def _address(host: str, port: int) -> str:
    require_host(host)
    address = join(host, port)
    split(address)
    return address
