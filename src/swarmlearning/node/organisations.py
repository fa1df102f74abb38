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

    [[organisation.authority]]            # without a certificate: the roots that the founder's SPIFFE agent has
    trust-domain = "hospital-b.example"   # for this domain
"""

import logging
import re
import tomllib
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography import x509

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import authority_of, common_name, expires_ms, subject_of, to_pem
from swarmlearning.identity.identity import Bundle
from swarmlearning.ledger.bodies import Anchor, NewOrganisation, NodeType, Quorum, Quotas
from swarmlearning.ledger.contracts.network.bodies import ROLES
from swarmlearning.ledger.fields import OrganisationId, remark
from swarmlearning.node.errors import NodeError

logger = logging.getLogger("swarm.identity")


class BundleError(UserError):
    """A trust domain of which the founder's agent has no roots; the text names those that it has."""


class _Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    certificate: str = ""
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


def read_founding(path: Path, bundles: Iterable[Bundle] = ()) -> Founding:
    """Reads a file that describes a network to be founded. Raises `NodeError`, which names what is wrong where.

    `bundles`: the trust domains that the founder's agent knows.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), _File)
        known = {bundle.trust_domain: bundle for bundle in bundles}
        organisations = tuple(_new(each, path.parent, known) for each in found.organisation)
    except BundleError as error:
        raise NodeError(f"{path}: {error}") from error
    except OSError as error:
        raise NodeError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise NodeError(f"{path}: {error}") from error
    return Founding(organisations, found.policies)


def _new(found: _Organisation, folder: Path, bundles: Mapping[str, Bundle]) -> NewOrganisation:
    anchors = tuple(anchor for each in found.authority for anchor in _anchors(each, folder, bundles))
    return NewOrganisation(found.id, found.name or found.id, anchors, found.quotas)


def _anchors(found: _Authority, folder: Path, bundles: Mapping[str, Bundle]) -> tuple[Anchor, ...]:
    if found.certificate:
        return (Anchor((folder / found.certificate).read_text(), found.roles, found.trust_domain),)
    if found.trust_domain not in bundles:
        raise BundleError(
            f"an authority needs a certificate, or a trust-domain that the SPIFFE agent of this SN knows: it has "
            f"{', '.join(sorted(bundles)) or 'none (--socket-path)'}, and not {found.trust_domain!r}"
        )
    return of_bundle(bundles[found.trust_domain], found.roles)


def of_bundle(bundle: Bundle, roles: tuple[NodeType, ...] = ROLES) -> tuple[Anchor, ...]:
    """The roots of a trust domain as authorities of an organisation, to which `AddRoot` adds those that come later."""
    return tuple(Anchor(to_pem(root), roles, bundle.trust_domain, bundle=True) for root in bundle.roots)


def founders(
    anchors: Iterable[x509.Certificate], now_ms: int, bundles: Iterable[Bundle] = ()
) -> tuple[NewOrganisation, ...]:
    """Each trust domain that the founder's agent knows as an organisation, and each authority that is in none of them.

    Certificates of one authority (name and key) are one's anchors. One that has expired (`now_ms`: Unix time in
    milliseconds) is left out, with a warning: it could agree to nothing.
    """
    found: dict[str, NewOrganisation] = {}
    valid = [anchor for anchor in anchors if not _has_expired(anchor, now_ms)]
    for name, roots in bundles:
        own = of_bundle(Bundle(name, tuple(root for root in roots if root in valid)))
        if own:
            new = NewOrganisation(_unused(_id(name), found), name[:LONGEST_NAME], own)
            found[new.id] = new
        valid = [anchor for anchor in valid if anchor not in roots]
    authorities: dict[str, list[x509.Certificate]] = {}
    for anchor in valid:
        authorities.setdefault(authority_of(anchor), []).append(anchor)
    for each in authorities.values():
        organisation = organisation_of(each, found)
        found[organisation.id] = organisation
    return tuple(found.values())


def _has_expired(anchor: x509.Certificate, now_ms: int) -> bool:
    if now_ms < expires_ms((anchor,)):
        return False
    logger.warning("The CA %r has expired: the network is founded without it", subject_of(anchor))
    return True


def organisation_of(anchors: Sequence[x509.Certificate], taken: Container[str]) -> NewOrganisation:
    """The organisation of these authorities, called by the first one's subject (`CN=CA-1` is `ca-1`).

    A number follows where another one has this ID already.
    """
    subject = subject_of(anchors[0])
    unused = _unused(_id(common_name(anchors[0]) or subject), taken)
    return NewOrganisation(unused, remark(subject)[:LONGEST_NAME], tuple(Anchor(to_pem(each)) for each in anchors))


def _unused(name: str, taken: Container[str]) -> str:
    number, unused = 1, name
    while unused in taken:
        number += 1
        unused = f"{name[: LONGEST_ID - 4]}-{number}"
    return unused


def _id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_ID].rstrip("-") or "organisation"
