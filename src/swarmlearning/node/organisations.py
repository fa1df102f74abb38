"""The organisations of a network: as a file describes them for its founding, or made from certificates of authorities.

A file for the founding is TOML:

    [policies]                            # quorums that are not the default: see `swarm policy list`
    create-contract = "majority"

    [[organisation]]
    id = "hospital-a"
    name = "Hospital A"                   # for people; by default the ID
    quotas = { nodes = 64, contracts = 8 }  # the others as by default: see `swarm organisation list --json`

    [[organisation.authority]]
    certificate = "hospital-a-ca.pem"     # relative to the file
    roles = ["SN", "SL", "SWCI"]          # by default all
    trust-domain = "hospital-a.example"   # only for SPIFFE IDs of that domain
"""

import logging
import re
import tomllib
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import msgspec
from cryptography import x509

from swarmlearning.identity.certificates import authority_of, common_name, expires_ms, subject_of, to_pem
from swarmlearning.ledger.bodies import Anchor, NewOrganisation, NodeType, Quorum, Quotas
from swarmlearning.ledger.contracts.network.bodies import ROLES
from swarmlearning.ledger.fields import OrganisationId, remark
from swarmlearning.node.errors import NodeError

logger = logging.getLogger("swarm.identity")


class _Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    certificate: str
    roles: tuple[NodeType, ...] = ROLES
    trust_domain: str = ""


class _Organisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: OrganisationId
    authority: tuple[_Authority, ...]
    name: str = ""
    quotas: Quotas = Quotas()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    organisation: tuple[_Organisation, ...] = ()
    policies: dict[str, Quorum] = msgspec.field(default_factory=dict)


class Founding(msgspec.Struct, frozen=True):
    """What a new network begins with. Without organisations, each authority in the SN's own files is one."""

    organisations: tuple[NewOrganisation, ...] = ()
    policies: dict[str, Quorum] = msgspec.field(default_factory=dict)


NOT_DESCRIBED = Founding()
LONGEST_ID = 40
LONGEST_NAME = 160


def read_founding(path: Path) -> Founding:
    """Reads a file that describes a network to be founded. Raises `NodeError`, which names what is wrong where."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), _File)
        organisations = tuple(_new(each, path.parent) for each in found.organisation)
    except OSError as error:
        raise NodeError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise NodeError(f"{path}: {error}") from error
    return Founding(organisations, found.policies)


def _new(found: _Organisation, folder: Path) -> NewOrganisation:
    anchors = tuple(
        Anchor((folder / each.certificate).read_text(), each.roles, each.trust_domain) for each in found.authority
    )
    return NewOrganisation(found.id, found.name or found.id, anchors, found.quotas)


def founders(anchors: Iterable[x509.Certificate], now_ms: int) -> tuple[NewOrganisation, ...]:
    """Each authority as an organisation of its own; certificates of one authority (name and key) are one's anchors.

    One that has expired (`now_ms`: Unix time in milliseconds) is left out, with a warning: it could agree to nothing.
    """
    authorities: dict[str, list[x509.Certificate]] = {}
    for anchor in anchors:
        if now_ms >= expires_ms((anchor,)):
            logger.warning("The CA %r has expired: the network is founded without it", subject_of(anchor))
            continue
        authorities.setdefault(authority_of(anchor), []).append(anchor)
    found: dict[str, NewOrganisation] = {}
    for own in authorities.values():
        organisation = organisation_of(own, found)
        found[organisation.id] = organisation
    return tuple(found.values())


def organisation_of(anchors: Sequence[x509.Certificate], taken: Container[str]) -> NewOrganisation:
    """The organisation of these authorities, called by the first one's subject (`CN=CA-1` is `ca-1`).

    A number follows where another one has this ID already.
    """
    subject = subject_of(anchors[0])
    name = _id(common_name(anchors[0]) or subject)
    number, unused = 1, name
    while unused in taken:
        number += 1
        unused = f"{name[: LONGEST_ID - 4]}-{number}"
    return NewOrganisation(unused, remark(subject)[:LONGEST_NAME], tuple(Anchor(to_pem(each)) for each in anchors))


def _id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_ID].rstrip("-") or "organisation"
