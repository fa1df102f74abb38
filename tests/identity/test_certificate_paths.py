"""Verification of certificate paths at a given time: which are accepted, and the error that names the faulty one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from support import gencert
from support.certs import make_workspace
from support.crafted_certs import DAY, NOON, check_path, craft, ms
from swarmlearning.identity.ca import Key, create_authority, issue
from swarmlearning.identity.certificates import (
    MAX_INTERMEDIATES,
    CertificateError,
    is_authority,
    load_bundle,
    load_der,
    verify_chain,
)

SIGNED_OVER_SHA1 = """\
-----BEGIN CERTIFICATE-----
MIIBdDCCARmgAwIBAgIUHGY4KZYunm0UYsAGeqspQEA0QtwwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEQ0EtMTAeFw0yNjExMjEyMzIzMDRaFw0yNjEyMjEyMzIzMDRa
MA8xDTALBgNVBAMMBENBLTEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASx2YHm
lRCvUhOaOlg7og7Ns2J1CqXSLUuGqqGq3Pv8KQkBt5xIdlSnvy0qSJjKA+fLAlml
5zxUhFU/qNiZeqX7o1MwUTAdBgNVHQ4EFgQUPibscsbnuRDmTq8uZaXQwhW1KkAw
HwYDVR0jBBgwFoAUPibscsbnuRDmTq8uZaXQwhW1KkAwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNJADBGAiEAzWrf8TkVT+ZgsxL42nT63NjbvaRGhw4wOVf6
JxIJl/UCIQCvOwgLu9x+5X7uvCMnM1YqkvSYzZ8YrcJQutCxbfpEvA==
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
MIIBAzCBqwIBBzAJBgcqhkjOPQQBMA8xDTALBgNVBAMMBENBLTEwHhcNMjYxMTIx
MjMyMzA0WhcNMjYxMjIxMjMyMzA0WjAPMQ0wCwYDVQQDDARTTC0xMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAE7gITKcwqeMdRbWVhJhgTJNuabKyPfzi35OCeQZNM
n/VT4Wwqff9EAHXWMzIOkH68j/Aw0Siym8Z5KaFZ7Q7N8zAJBgcqhkjOPQQBA0gA
MEUCIQCHdqBEaTfvXeX+Vqjg2nGFHvNq1D9LEeJXI/rIbgpnjgIgVlOqzoxapK+B
V5BzSrHmUMHRZzxn3LJs7Vs2ygBwhpE=
-----END CERTIFICATE-----
"""
"""A CA and a node certificate, made with openssl: the cryptography library makes none of this kind."""


def only_signatures() -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, False, False, False, False)


def test_a_certificate_issued_by_a_trusted_ca_is_accepted() -> None:
    root = craft("CN=CA-1")
    check_path(craft("CN=SL-1", root, ca=False), anchors=[craft("CN=CA-2"), root])


def test_a_node_certificate_without_basic_constraints_is_accepted() -> None:
    root = craft("CN=CA-1")
    check_path(craft("CN=SL-1", root, ca=None), anchors=[root])


@pytest.mark.parametrize("backwards", [False, True])
def test_a_path_over_intermediates_in_any_order_is_accepted(backwards: bool) -> None:
    root = craft("CN=Root")
    middle = craft("CN=Middle", root)
    lower = craft("CN=Lower", middle)
    path = [lower, middle][:: -1 if backwards else 1]
    check_path(craft("CN=SL-1", lower, ca=False), *path, craft("CN=Unrelated"), anchors=[root])


def test_an_intermediate_ca_may_itself_be_trusted() -> None:
    middle = craft("CN=Middle", craft("CN=Root"))
    check_path(craft("CN=SL-1", middle, ca=False), anchors=[middle])


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_certificates_with_p384_and_ed25519_keys_are_accepted(key: Key) -> None:
    root = craft("CN=CA-1", key=key)
    check_path(craft("CN=SL-1", root, ca=False, key=key), anchors=[root])


def test_the_error_about_an_unknown_issuer_names_it_and_the_trusted_cas() -> None:
    leaf = craft("CN=SL-1", craft("CN=Stranger"), ca=False)
    with pytest.raises(CertificateError, match=r"'CN=SL-1'.*unknown issuer 'CN=Stranger'.*trusted CAs: 'CN=CA-1'"):
        check_path(leaf, anchors=[craft("CN=CA-1")])
    with pytest.raises(CertificateError, match="trusted CAs: none"):
        check_path(leaf, anchors=[])


def test_the_unknown_issuer_of_an_intermediate_is_named() -> None:
    middle = craft("CN=Middle", craft("CN=Stranger"))
    with pytest.raises(CertificateError, match="'CN=Middle' has the unknown issuer 'CN=Stranger'"):
        check_path(craft("CN=SL-1", middle, ca=False), middle, anchors=[craft("CN=CA-1")])


def test_a_certificate_of_another_ca_with_the_same_name_is_refused() -> None:
    leaf = craft("CN=SL-1", craft("CN=CA-1"), ca=False)
    with pytest.raises(CertificateError, match=r"'CN=SL-1' has a bad signature.*'CN=CA-1'"):
        check_path(leaf, anchors=[craft("CN=CA-1")])


def test_the_right_one_of_two_trusted_cas_with_the_same_name_is_found() -> None:
    first, second = craft("CN=CA-1"), craft("CN=CA-1")
    check_path(craft("CN=SL-1", first, ca=False), anchors=[first, second])
    check_path(craft("CN=SL-1", first, ca=False), anchors=[second, first])


def test_a_certificate_that_was_altered_is_refused() -> None:
    root = craft("CN=CA-1")
    leaf = craft("CN=SL-1", root, ca=False)
    der = leaf.certificate.public_bytes(Encoding.DER)
    altered = load_der(der.replace(b"SL-1", b"SN-1"))
    with pytest.raises(CertificateError, match="'CN=SN-1' has a bad signature"):
        verify_chain(altered, [], [root.certificate], ms(NOON))


def test_a_self_signed_certificate_is_refused() -> None:
    leaf = craft("CN=SL-1", ca=False)
    with pytest.raises(CertificateError, match="unknown issuer"):
        check_path(leaf, anchors=[craft("CN=CA-1")])
    with pytest.raises(CertificateError, match="no CA certificate"):
        check_path(leaf, anchors=[leaf])


def test_the_certificate_of_a_ca_is_not_accepted_as_that_of_a_node() -> None:
    root = craft("CN=CA-1")
    with pytest.raises(CertificateError, match="'CN=SL-1' is a CA certificate"):
        check_path(craft("CN=SL-1", root), anchors=[root])


def test_a_node_certificate_with_key_cert_sign_is_not_accepted_as_a_ca(tmp_path: Path) -> None:
    """The original's node certificates may sign certificates by their key usage; CA:FALSE must hold."""
    authority = gencert.make_authority("CA-1")
    node = gencert.make_node(authority, "SL-1", ["SL-1"])
    begin, end = node.certificate.not_valid_before_utc, node.certificate.not_valid_after_utc
    forged = craft("CN=SN-1", node, ca=False, begin=begin, end=end)
    with pytest.raises(CertificateError, match="'CN=SL-1,OU=Swarm-Learning' is no CA certificate"):
        check_path(forged, node, anchors=[authority], at=begin)


def test_a_ca_without_key_cert_sign_may_not_issue() -> None:
    root = craft("CN=CA-1", usage=only_signatures())
    with pytest.raises(CertificateError, match="'CN=CA-1' may not issue"):
        check_path(craft("CN=SL-1", root, ca=False), anchors=[root])


def test_a_path_longer_than_a_ca_allows_is_refused() -> None:
    root = craft("CN=Root", path_length=1)
    middle = craft("CN=Middle", root)
    lower = craft("CN=Lower", middle)
    check_path(craft("CN=SL-1", middle, ca=False), middle, anchors=[root])
    with pytest.raises(CertificateError, match="'CN=Root' allows 1 CA certificates below it, not 2"):
        check_path(craft("CN=SL-1", lower, ca=False), lower, middle, anchors=[root])


def test_a_new_key_of_the_same_ca_does_not_count_for_path_length() -> None:
    old = craft("CN=Root", path_length=0)
    new = craft("CN=Root", old)
    assert new.certificate.subject == new.certificate.issuer
    check_path(craft("CN=SL-1", new, ca=False), new, anchors=[old])


def test_the_certificate_of_an_intermediate_that_leads_to_a_trusted_ca_is_found() -> None:
    known, unknown = craft("CN=Known"), craft("CN=Unknown")
    key = ec.generate_private_key(ec.SECP256R1())
    one, other = craft("CN=Middle", unknown, key=key), craft("CN=Middle", known, key=key)
    leaf = craft("CN=SL-1", one, ca=False)
    check_path(leaf, one, other, anchors=[known])
    check_path(leaf, other, one, anchors=[known])


def test_a_renewed_ca_certificate_stands_in_for_the_expired_one() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = craft("CN=CA-1", key=key, begin=NOON - 3 * DAY, end=NOON - DAY)
    new = craft("CN=CA-1", key=key)
    check_path(craft("CN=SL-1", old, ca=False), anchors=[old, new])


def test_the_search_ends_where_cas_have_issued_each_other() -> None:
    one, two = craft("CN=One"), craft("CN=Two")
    crossed = [craft("CN=One", two, key=one.key), craft("CN=Two", one, key=two.key)]
    with pytest.raises(CertificateError, match="unknown issuer"):
        check_path(craft("CN=SL-1", one, ca=False), *crossed, anchors=[craft("CN=CA-1")])


def test_the_number_of_intermediates_is_bounded() -> None:
    root = craft("CN=CA-1")
    leaf = craft("CN=SL-1", root, ca=False)
    spare = [craft("CN=Spare")] * (MAX_INTERMEDIATES + 1)
    check_path(leaf, *spare[1:], anchors=[root])
    with pytest.raises(CertificateError, match="at most 8"):
        check_path(leaf, *spare, anchors=[root])


def test_an_unknown_critical_extension_is_refused() -> None:
    policy = x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
    root = craft("CN=CA-1", extra=policy)
    with pytest.raises(CertificateError, match=r"'CN=CA-1' has the critical extension 2\.5\.29\.36"):
        check_path(craft("CN=SL-1", root, ca=False), anchors=[root])


def test_a_signature_over_sha1_is_refused() -> None:
    root, leaf = load_bundle(SIGNED_OVER_SHA1)
    with pytest.raises(CertificateError, match="'CN=SL-1' is signed with sha1"):
        verify_chain(leaf, [], [root], ms(leaf.not_valid_before_utc))


def test_a_signature_of_an_unknown_algorithm_is_refused() -> None:
    leaf = craft("CN=SL-1", craft("CN=CA-1"), ca=False)
    ecdsa_with_sha384 = bytes.fromhex("06082a8648ce3d040303")
    der = leaf.certificate.public_bytes(Encoding.DER)
    unknown = load_der(der.replace(ecdsa_with_sha384, ecdsa_with_sha384[:-1] + b"\x7f"))
    with pytest.raises(CertificateError, match="'CN=SL-1' has a signature that cannot be checked"):
        verify_chain(unknown, [], [craft("CN=CA-1").certificate], ms(NOON))


def test_a_certificate_is_valid_from_its_first_to_its_last_second() -> None:
    root = craft("CN=CA-1", begin=NOON - 9 * DAY, end=NOON + 9 * DAY)
    leaf = craft("CN=SL-1", root, ca=False, begin=NOON, end=NOON + DAY)
    millisecond = timedelta(milliseconds=1)
    check_path(leaf, anchors=[root], at=NOON)
    check_path(leaf, anchors=[root], at=NOON + DAY + timedelta(milliseconds=999))
    with pytest.raises(CertificateError, match="'CN=SL-1' is not yet valid before 2030-06-15 12:00:00 UTC"):
        check_path(leaf, anchors=[root], at=NOON - millisecond)
    with pytest.raises(CertificateError, match="'CN=SL-1' expired at 2030-06-16 12:00:00 UTC"):
        check_path(leaf, anchors=[root], at=NOON + DAY + timedelta(seconds=1))


def test_every_certificate_of_a_path_has_to_be_valid() -> None:
    long, short = NOON + 9 * DAY, NOON + DAY
    for ends in ([short, long], [long, short]):
        root = craft("CN=Root", end=ends[0])
        middle = craft("CN=Middle", root, end=ends[1])
        leaf = craft("CN=SL-1", middle, ca=False, end=long)
        check_path(leaf, middle, anchors=[root])
        guilty = "Root" if ends[0] == short else "Middle"
        with pytest.raises(CertificateError, match=f"'CN={guilty}' expired at 2030-06-16"):
            check_path(leaf, middle, anchors=[root], at=NOON + 2 * DAY)


@pytest.mark.parametrize("authority_key_identifier", [True, False])
@pytest.mark.parametrize("accumulate_names", [True, False])
def test_the_certificates_of_the_original_are_accepted(
    tmp_path: Path, authority_key_identifier: bool, accumulate_names: bool
) -> None:
    made = gencert.gen_cert(
        tmp_path,
        authority_key_identifier=authority_key_identifier,
        accumulate_names=accumulate_names,
    )
    assert {name: identity.role for name, identity in made.items()} == {
        "SN-1": "SN",
        "SL-1": "SL",
        "SWOP-1": "SWOP",
        "SWCI-1": "SWCI",
    }
    sl = made["SL-1"]
    assert sl.subject == "CN=SL-1,OU=Swarm-Learning"
    usage = sl.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not is_authority(sl.certificate)
    verify_chain(sl.certificate, [], sl.anchors, ms(sl.certificate.not_valid_before_utc))


def test_the_certificates_of_the_development_ca_are_accepted(tmp_path: Path) -> None:
    sn = make_workspace(tmp_path, ["SN-1"])["SN-1"]
    verify_chain(sn.certificate, [], sn.anchors, ms(datetime.now(UTC)))


def test_a_ca_issued_by_the_development_ca_is_refused() -> None:
    authority = create_authority("CA-1", 30)
    begin, end = authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc
    below = craft("CN=CA-X", authority, begin=begin, end=end)
    leaf = issue(below, "SN-1", [], [], 1)
    with pytest.raises(CertificateError, match="allows 0 CA certificates below it"):
        check_path(leaf, below, anchors=[authority], at=datetime.now(UTC))
