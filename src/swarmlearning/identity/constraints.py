"""Name constraints: for which names a CA may issue certificates, where its own one limits them.

RFC 5280 section 4.2.1.10. They hold for the subject and the subject alternative names of every certificate below the
CA. A name must match one of the permitted subtrees of its kind, if there are any, and none of the excluded ones. Of the
kinds of names, those that certificates of nodes have are compared: directory names, DNS names, e-mail addresses, URIs
(a SPIFFE ID is one) and IP addresses. A name of another kind is refused where there is a constraint of that kind.
"""

import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

MOST: Final = 100_000
"""Comparisons for one certificate: bounds the work that a stranger can cause."""


def violation(constraints: x509.NameConstraints, certificate: x509.Certificate) -> str | None:
    """The first name of `certificate` that is not allowed, and why, for a message; None when all are allowed."""
    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    names = list(_names(certificate))
    if len(names) * (len(permitted) + len(excluded)) > MOST:
        return f"its {len(names)} names are too many for the {len(permitted) + len(excluded)} constraints on them"
    for name in names:
        if any(type(subtree) is type(name) and _may_match(name, subtree) for subtree in excluded):
            return f"{_text(name)} is excluded"
        of_its_kind = [subtree for subtree in permitted if type(subtree) is type(name)]
        if of_its_kind and not any(_matches(name, subtree) for subtree in of_its_kind):
            return f"{_text(name)} is not among the permitted names"
    return None


def _names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    if certificate.subject.rdns:
        yield x509.DirectoryName(certificate.subject)
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        try:
            yield x509.RFC822Name(str(attribute.value))
        except ValueError:  # not ASCII: no constraint could match it
            yield x509.RFC822Name("")
    try:
        yield from certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return


def _may_match(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """As `_matches`, but true for names that cannot be compared: excluded is excluded."""
    match name:
        case x509.UniformResourceIdentifier(value=uri) if not _host(uri):
            return True
        case x509.RFC822Name(value=address) if "@" not in address:
            return True
        case x509.OtherName() | x509.RegisteredID():
            return True
    return _matches(name, subtree)


def _matches(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """True if the name lies in the subtree, which is of the same kind."""
    match name, subtree:
        case x509.DirectoryName(value=own), x509.DirectoryName(value=base):
            return _rdns(own)[: len(base.rdns)] == _rdns(base)
        case x509.DNSName(value=own), x509.DNSName(value=base):
            return _in_domain(own, base)
        case x509.UniformResourceIdentifier(value=own), x509.UniformResourceIdentifier(value=base):
            return _on_host(_host(own), base)
        case x509.RFC822Name(value=own), x509.RFC822Name(value=base):
            return _is_mailbox(own, base)
        case x509.IPAddress(value=own), x509.IPAddress(value=base):
            return isinstance(base, ipaddress.IPv4Network | ipaddress.IPv6Network) and own in base
    return False


def _rdns(name: x509.Name) -> list[frozenset[tuple[str, str | bytes]]]:
    """In a form that is equal for equal names, RFC 5280 section 7.1: without regard to case, spaces and string type."""
    return [frozenset((one.oid.dotted_string, _plain(one.value)) for one in rdn) for rdn in name.rdns]


def _plain(value: str | bytes) -> str | bytes:
    return " ".join(_lower(value).split()) if isinstance(value, str) else value


def _lower(text: str) -> str:
    """Of ASCII only: other letters are different letters in each case."""
    return "".join(character.lower() if character.isascii() else character for character in text)


def _in_domain(name: str, base: str) -> bool:
    """DNS: the domain and all below it; with a dot before it, all below."""
    name, base = _lower(name), _lower(base)
    return not base or name == base or name.endswith(base if base.startswith(".") else f".{base}")


def _on_host(host: str, base: str) -> bool:
    """URIs: one host; with a dot before it, all hosts below."""
    base = _lower(base)
    return bool(host) and (host.endswith(base) if base.startswith(".") else host == base)


def _is_mailbox(address: str, base: str) -> bool:
    """E-mail: one mailbox, all on one host, or with a dot before it all on hosts below."""
    mailbox, _, host = address.rpartition("@")
    if "@" in base:
        own, _, of_host = base.rpartition("@")
        return mailbox == own and _lower(host) == _lower(of_host)
    return bool(mailbox) and _on_host(_lower(host), base)


def _host(uri: str) -> str:
    """Lower-case; empty when there is none, or an IP address, to which no constraint on URIs can apply."""
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _lower(host)
    return ""


def _text(name: x509.GeneralName) -> str:
    value = name.value
    return repr(value.rfc4514_string() if isinstance(value, x509.Name) else str(value))[:200]
