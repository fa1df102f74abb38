import os
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from support import gencert
from support.certs import make_workspace
from swarmlearning.identity.ca import KeyPair, create_authority, cross_certificate, issue
from swarmlearning.identity.certificates import CertificateError, authority_of, is_authority, is_issued_by, verify_chain
from swarmlearning.identity.workspace import Workspace

E = TypeVar("E", bound=x509.ExtensionType)


def extension(certificate: x509.Certificate, kind: type[E]) -> E:
    return certificate.extensions.get_extension_for_class(kind).value


class TestMaking:
    def test_a_new_authority_may_sign_certificates_and_nothing_else(self) -> None:
        certificate, key = create_authority("CA-1", days=10)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1"
        assert certificate.subject.rfc4514_string() == "CN=CA-1,OU=Swarm-Learning"
        assert is_authority(certificate)
        usage = extension(certificate, x509.KeyUsage)
        assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
        certificate.verify_directly_issued_by(certificate)

    def test_an_issued_node_certificate_has_its_names_usage_and_authority(self) -> None:
        authority = create_authority("CA-1", days=10)
        certificate, _ = issue(authority, "SN-1", ["sn.example.org", "SN-1"], ["10.0.0.1", "::1"], days=5)
        usage = extension(certificate, x509.KeyUsage)
        assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
        assert not is_authority(certificate)
        names = extension(certificate, x509.SubjectAlternativeName)
        assert names.get_values_for_type(x509.DNSName) == ["SN-1", "sn.example.org"]
        assert names.get_values_for_type(x509.IPAddress) == [ip_address("10.0.0.1"), ip_address("::1")]
        purposes = list(extension(certificate, x509.ExtendedKeyUsage))
        assert purposes == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        own = extension(authority.certificate, x509.SubjectKeyIdentifier).digest
        assert extension(certificate, x509.AuthorityKeyIdentifier).key_identifier == own
        verify_chain(certificate, [], [authority.certificate], int(datetime.now(UTC).timestamp() * 1000))

    def test_a_cross_certificate_vouches_for_another_authority_s_name_and_key_while_both_are_valid(self) -> None:
        authority, successor = create_authority("CA-1", days=10), create_authority("CA-2", days=400)
        crossed = cross_certificate(successor.certificate, by=authority)
        assert authority_of(crossed) == authority_of(successor.certificate)
        assert is_authority(crossed)
        assert crossed.not_valid_before_utc == successor.certificate.not_valid_before_utc
        assert crossed.not_valid_after_utc == authority.certificate.not_valid_after_utc
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        assert is_issued_by(crossed, authority.certificate, now_ms)
        assert not is_issued_by(crossed, create_authority("CA-1", days=10).certificate, now_ms)

    def test_two_issued_certificates_have_different_serial_numbers_and_keys(self) -> None:
        authority = create_authority("CA-1", days=10)
        one, two = (issue(authority, "SN-1", [], [], days=5) for _ in range(2))
        assert one.certificate.serial_number != two.certificate.serial_number
        assert one.key.public_key() != two.key.public_key()

    def test_an_issued_certificate_is_valid_at_once_for_a_clock_that_is_minutes_behind(self) -> None:
        authority = create_authority("CA-1", days=10)
        certificate, _ = issue(authority, "SN-1", [], [], days=5)
        behind = datetime.now(UTC) - timedelta(minutes=4, seconds=30)
        verify_chain(certificate, [], [authority.certificate], int(behind.timestamp() * 1000))

    def test_an_issued_certificate_ends_no_later_than_its_authority(self) -> None:
        authority = create_authority("CA-1", days=10)
        certificate, _ = issue(authority, "SN-1", [], [], days=11)
        assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc

    def test_an_expired_authority_issues_nothing(self) -> None:
        with pytest.raises(CertificateError, match=r"'CN=CA-1,OU=Swarm-Learning' expired at .*make a new one"):
            issue(create_authority("CA-1", days=0), "SN-1", [], [], days=1)

    def test_an_authority_of_the_original_or_with_an_ed25519_key_can_issue_certificates(self) -> None:
        original = gencert.make_authority("CA-1")
        other = KeyPair(original.certificate, ed25519.Ed25519PrivateKey.generate())
        certificate, _ = issue(original, "SN-1", [], [], days=1)
        certificate.verify_directly_issued_by(original.certificate)
        assert issue(other, "SN-1", [], [], days=1).certificate.signature_hash_algorithm is None

    @pytest.mark.parametrize(
        ("name", "dns", "ips"), [("x" * 65, [], []), ("", [], []), ("SN-1", ["müller"], []), ("SN-1", [], ["1.2.3"])]
    )
    def test_issuing_for_an_invalid_name_or_address_is_refused(self, name: str, dns: list[str], ips: list[str]) -> None:
        with pytest.raises(CertificateError, match=r"cannot be the name|not a host name or IP address"):
            issue(create_authority("CA-1", days=10), name, dns, ips, days=1)


class TestFiles:
    def test_certificate_files_have_the_layout_of_the_original(self, tmp_path: Path) -> None:
        make_workspace(tmp_path / "ours", ["SN-1", "SL-1", "SWOP-1", "SWCI-1"])
        gencert.gen_cert(tmp_path / "theirs")
        ours, theirs = (
            {str(path.relative_to(root)) for path in root.rglob("*") if path.suffix == ".pem"}
            for root in (tmp_path / "ours", tmp_path / "theirs")
        )
        assert ours == theirs
        assert {"ca/ca-1-key.pem", "ca/capath/ca-1-cert.pem", "sn-1-key.pem", "sn-1-cert.pem"} <= ours

    def test_key_files_are_readable_by_their_owner_only(self, tmp_path: Path) -> None:
        previous = os.umask(0)
        try:
            make_workspace(tmp_path, ["SN-1"])
        finally:
            os.umask(previous)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.pem")}
        assert modes == {
            "ca-1-key.pem": 0o600,
            "sn-1-key.pem": 0o600,
            "ca-1-cert.pem": 0o644,
            "sn-1-cert.pem": 0o644,
        }

    def test_a_certificate_that_cannot_be_written_leaves_the_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = make_workspace(tmp_path, ["SN-1"])["SN-1"].certificate
        before = sorted(tmp_path.rglob("*"))
        workspace = Workspace(tmp_path)
        new = issue(workspace.load_authority("CA-1"), "SN-1", [], [], days=1)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            workspace.save_node("SN-1", new)
        assert workspace.identity("SN-1").certificate == old
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_saved_authority_is_loaded_again(self, tmp_path: Path) -> None:
        workspace, authority = Workspace(tmp_path), create_authority("CA-2", days=1)
        assert workspace.authorities() == []
        workspace.save_authority("CA-2", authority)
        assert workspace.authorities() == ["CA-2"]
        again = workspace.load_authority("CA-2")
        assert again.certificate == authority.certificate
        assert again.key.public_key() == authority.key.public_key()

    def test_a_key_file_that_does_not_fit_its_authority_is_refused(self, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path)
        workspace.save_authority("CA-1", create_authority("CA-1", days=1))
        workspace.save_authority("CA-2", create_authority("CA-2", days=1))
        workspace.authority_key("CA-1").write_bytes(workspace.authority_key("CA-2").read_bytes())
        with pytest.raises(CertificateError, match=r"ca-1-key\.pem is not the private key of .*ca-1-cert\.pem"):
            workspace.load_authority("CA-1")
        workspace.authority_key("CA-1").write_text("")
        with pytest.raises(CertificateError, match=r"ca-1-key\.pem: no usable CA"):
            workspace.load_authority("CA-1")
