"""A newcomer's files: the key that never leaves its host, the request, and what an SN hands over, checked."""

import time

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import (
    CertificateError,
    common_name,
    is_authority,
    load_certificate,
    thumbprint,
    verify_chain,
)
from swarmlearning.identity.identity import read_file
from swarmlearning.identity.requests import make_request, read_request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.invitations.code import JoinCode
from swarmlearning.invitations.standing import Standing


def own_request(workspace: Workspace, node: str, dns: list[str], ips: list[str]) -> str:
    """The request (PEM) for this node's certificate that waits here, or a new one with a new key, which stays here.

    Raises `CertificateError` or `IdentityError` for files that cannot be used.
    """
    path = workspace.request(node)
    if workspace.request_key(node).exists() and path.exists():
        found = read_file(path)
        if read_request(found).common_name != node:
            raise UserError(f"{path} is a request for another node than {node}: remove it, or choose another --out")
        return found.decode("ascii", errors="replace")
    key = ec.generate_private_key(ec.SECP256R1())
    request = make_request(key, node, dns, ips)
    workspace.save_request(node, key, request)
    return request


def named_authorities(code: JoinCode, standing: Standing) -> list[x509.Certificate]:
    """The authorities among those that an SN has sent which the code names: others are not trusted."""
    found = []
    for pem in standing.authorities:
        try:
            certificate = load_certificate(pem)
        except CertificateError:
            continue  # whatever it is, the code does not name it
        if bytes.fromhex(thumbprint(certificate)) in code.authorities and is_authority(certificate):
            found.append(certificate)
    return found


def install(workspace: Workspace, code: JoinCode, standing: Standing) -> x509.Certificate:
    """Puts the certificate that the office has issued in place, and the authorities to trust; returns it.

    The SN may be one of another organisation, whose authority is trusted for that SN alone: with a certificate by it
    the node would be one of that organisation. Raises `UserError` for one that is not for this node and its key, or by
    no authority of the node's own organisation.
    """
    trusted = named_authorities(code, standing)
    issuers = [each for each in trusted if bytes.fromhex(thumbprint(each)) in code.issuers]
    try:
        found = load_certificate(standing.certificate)
        if common_name(found) != code.name:
            raise CertificateError("it is for another node")
        verify_chain(found, (), issuers, time.time_ns() // 1_000_000)
    except CertificateError as error:
        raise UserError(
            f"the certificate that the SN has handed over cannot be used for {code.name}: {error}. Where your office "
            "has another CA since, ask it for another code"
        ) from error
    trust(workspace, trusted)
    workspace.install(code.name, found)
    return found


def trust(workspace: Workspace, authorities: list[x509.Certificate]) -> None:
    """Adds these authorities to those that the nodes of this host trust at their first contact."""
    for each in authorities:
        workspace.trust(each)
