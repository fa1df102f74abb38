"""`swarm ca` and the sub-commands of `swarm cert`: an office with the CA, and hosts whose keys stay where they are."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from swarmlearning.cli.main import app
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import load_certificate, to_pem
from swarmlearning.identity.requests import make_request
from swarmlearning.identity.workspace import Workspace


def swarm(*arguments: object, code: int = 0, given: str = "") -> str:
    """What a command prints; both streams where it fails."""
    wide = {"COLUMNS": "300"}  # so that no table wraps
    result = CliRunner(env=wide).invoke(app, [str(each) for each in arguments], input=given)
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else " ".join(result.output.replace("│", " ").split())


@pytest.fixture
def office(tmp_path: Path) -> Workspace:
    swarm("ca", "create", "north", "--out", tmp_path / "office")
    return Workspace(tmp_path / "office")


def ca_file(office: Workspace) -> Path:
    return office.authority_certificate("north")


def enrolled(host: Path, office: Workspace, *names: str) -> Workspace:
    """SL-1's files on its host, after the steps that people take."""
    workspace = Workspace(host)
    swarm("cert", "request", "SL-1", "--out", host, *names)
    swarm("ca", "sign", workspace.request("SL-1"), "--out", office.root, "--to", host / "signed.pem", "--yes")
    swarm("cert", "install", "SL-1", host / "signed.pem", "--out", host, "--authority", ca_file(office))
    return workspace


class TestSigning:
    def test_a_node_gets_its_certificate_in_four_commands_and_its_key_never_leaves_its_host(
        self, tmp_path: Path, office: Workspace
    ) -> None:
        host = enrolled(tmp_path / "host", office, "--host-ip", "10.0.0.7", "--dns", "sl.north.example")
        identity = host.identity("SL-1")
        assert (identity.role, identity.subject) == ("SL", "CN=SL-1,OU=Swarm-Learning")
        names = identity.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["SL-1", "sl.north.example"]
        assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
        keys = [path for path in office.root.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
        assert keys == [office.authority_key("north")]
        assert host.key("SL-1").stat().st_mode & 0o777 == 0o600
        assert not host.request_key("SL-1").exists()

    def test_the_office_sees_what_it_signs_and_may_refuse(self, tmp_path: Path, office: Workspace) -> None:
        made = swarm("cert", "request", "SL-1", "--out", tmp_path, "--host-ip", "10.0.0.7")
        fingerprint = made.partition("Fingerprint of its key: ")[2].split()[0]
        request = Workspace(tmp_path).request("SL-1")
        shown = swarm("ca", "sign", request, "--out", office.root, given="n\n", code=1)
        assert "For SL-1" in shown
        assert "10.0.0.7" in shown
        assert fingerprint in shown
        assert fingerprint in swarm("cert", "show", request)
        assert office.issued() == []

    def test_a_request_for_no_role_is_refused(self, tmp_path: Path, office: Workspace) -> None:
        request = tmp_path / "request.pem"
        request.write_text(make_request(ec.generate_private_key(ec.SECP256R1()), "www.example.org", [], []))
        refused = swarm("ca", "sign", request, "--out", office.root, "--yes", code=1)
        assert "a node's name begins with its role" in refused
        assert office.issued() == []

    def test_what_is_no_request_is_refused_by_its_name(self, tmp_path: Path, office: Workspace) -> None:
        assert "no request in PEM form" in swarm("ca", "sign", ca_file(office), "--out", office.root, "--yes", code=1)
        assert "cannot be read" in swarm("ca", "sign", tmp_path / "none", "--out", office.root, "--yes", code=1)

    def test_the_key_of_a_ca_can_be_encrypted(self, tmp_path: Path) -> None:
        secret, out = tmp_path / "secret", tmp_path / "office"
        secret.write_text("correct horse\n")
        swarm("ca", "create", "north", "--out", out, "--ca-passphrase-file", secret)
        assert b"ENCRYPTED" in Workspace(out).authority_key("north").read_bytes()
        swarm("cert", "request", "SL-1", "--out", tmp_path)
        sign = ("ca", "sign", Workspace(tmp_path).request("SL-1"), "--out", out, "--yes")
        assert "is encrypted: name --ca-passphrase-file" in swarm(*sign, code=1)
        swarm(*sign, "--ca-passphrase-file", secret)

    def test_a_second_ca_of_that_name_is_refused(self, office: Workspace) -> None:
        before = office.authority_key("north").read_bytes()
        assert "has a CA north already" in swarm("ca", "create", "north", "--out", office.root, code=1)
        assert office.authority_key("north").read_bytes() == before


class TestInstalling:
    def test_a_request_that_waits_is_not_replaced_unless_forced(self, tmp_path: Path) -> None:
        swarm("cert", "request", "SL-1", "--out", tmp_path)
        key = Workspace(tmp_path).request_key("SL-1")
        before = key.read_bytes()
        assert "waits for its certificate already" in swarm("cert", "request", "SL-1", "--out", tmp_path, code=1)
        assert key.read_bytes() == before
        swarm("cert", "request", "SL-1", "--out", tmp_path, "--force")
        assert key.read_bytes() != before

    def test_a_certificate_for_another_key_node_or_of_another_ca_is_refused_and_nothing_is_lost(
        self, tmp_path: Path, office: Workspace
    ) -> None:
        host = enrolled(tmp_path / "host", office)
        swarm("cert", "request", "SL-1", "--out", host.root)
        before = {path: path.read_bytes() for path in host.root.rglob("*.pem")}
        authority, stranger = office.load_authority("north"), create_authority("stranger", 10)

        def refused(certificate: x509.Certificate) -> str:
            path = tmp_path / "other.pem"
            path.write_text(to_pem(certificate))
            return swarm("cert", "install", "SL-1", path, "--out", host.root, code=1)

        assert "is the private key of that certificate" in refused(issue(authority, "SL-1", [], [], 5).certificate)
        assert "is for 'SL-2'" in refused(issue(authority, "SL-2", [], [], 5).certificate)
        assert "--authority names the CA" in refused(issue(stranger, "SL-1", [], [], 5).certificate)
        assert {path: path.read_bytes() for path in host.root.rglob("*.pem")} == before

    def test_the_first_certificate_needs_a_ca_to_trust(self, tmp_path: Path, office: Workspace) -> None:
        swarm("cert", "request", "SL-1", "--out", tmp_path)
        signed = tmp_path / "signed.pem"
        swarm("ca", "sign", Workspace(tmp_path).request("SL-1"), "--out", office.root, "--to", signed, "--yes")
        assert "--authority FILE" in swarm("cert", "install", "SL-1", signed, "--out", tmp_path, code=1)

    def test_options_of_swarm_cert_before_a_sub_command_are_refused(self, tmp_path: Path) -> None:
        assert "go behind request" in swarm("cert", "--out", tmp_path, "request", "SL-1", "--out", tmp_path, code=2)


class TestRenewing:
    def test_the_office_renews_for_the_same_key_and_names(self, tmp_path: Path, office: Workspace) -> None:
        host = enrolled(tmp_path / "host", office, "--host-ip", "10.0.0.7", "--dns", "sl.north.example")
        before, key = host.identity("SL-1").certificate, host.key("SL-1").read_bytes()
        swarm("ca", "renew", "SL-1", "--out", office.root, "--days", "700", "--to", tmp_path / "renewed.pem")
        swarm("cert", "install", "SL-1", tmp_path / "renewed.pem", "--out", host.root)
        after = host.identity("SL-1").certificate
        assert host.key("SL-1").read_bytes() == key
        assert after.not_valid_after_utc > before.not_valid_after_utc
        san = x509.SubjectAlternativeName
        assert after.extensions.get_extension_for_class(san) == before.extensions.get_extension_for_class(san)

    def test_a_host_renews_with_a_new_key_and_keeps_the_old_one_until_it_is_installed(
        self, tmp_path: Path, office: Workspace
    ) -> None:
        host = enrolled(tmp_path / "host", office, "--host-ip", "10.0.0.7")
        before = host.identity("SL-1")
        swarm("cert", "request", "SL-1", "--out", host.root)
        assert host.identity("SL-1") == before
        swarm("ca", "sign", host.request("SL-1"), "--out", office.root, "--to", tmp_path / "new.pem", "--yes")
        swarm("cert", "install", "SL-1", tmp_path / "new.pem", "--out", host.root)
        after = host.identity("SL-1")
        assert after.certificate.public_key() != before.certificate.public_key()
        names = after.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]

    def test_what_was_never_issued_or_is_revoked_is_not_renewed(self, tmp_path: Path, office: Workspace) -> None:
        assert "has issued no certificate for SL-1" in swarm("ca", "renew", "SL-1", "--out", office.root, code=1)
        enrolled(tmp_path / "host", office)
        swarm("ca", "revoke", "SL-1", "--out", office.root, "--offline")
        assert "sign a request" in swarm("ca", "renew", "SL-1", "--out", office.root, code=1)


class TestRevoking:
    def test_all_certificates_of_a_node_are_on_the_list_that_the_ca_signs(
        self, tmp_path: Path, office: Workspace
    ) -> None:
        enrolled(tmp_path / "host", office)
        swarm("ca", "renew", "SL-1", "--out", office.root)
        serials = {each.serial_number for each in office.issued()}
        assert len(serials) == 2
        shown = swarm("ca", "revoke", "sl-1", "--out", office.root, "--offline")
        assert "The network trusts them until an operator tells it" in shown
        listed = x509.load_pem_x509_crl(office.revocations("north").read_bytes())
        assert listed.is_signature_valid(load_certificate(ca_file(office).read_bytes()).public_key())  # type: ignore[arg-type]
        assert {each.serial_number for each in listed} == serials

    def test_revoking_again_repeats_nothing_and_keeps_the_others(self, tmp_path: Path, office: Workspace) -> None:
        enrolled(tmp_path / "host", office)
        swarm("cert", "request", "SN-1", "--out", tmp_path)
        swarm("ca", "sign", Workspace(tmp_path).request("SN-1"), "--out", office.root, "--yes")
        for node in ("SL-1", "SN-1", "SL-1"):
            swarm("ca", "revoke", node, "--out", office.root, "--offline")
        listed = x509.load_pem_x509_crl(office.revocations("north").read_bytes())
        assert sorted(each.serial_number for each in listed) == sorted(each.serial_number for each in office.issued())

    def test_the_list_is_written_before_the_network_is_told(self, tmp_path: Path, office: Workspace) -> None:
        host = enrolled(tmp_path / "host", office)
        files = ("--capath", host.capath, "--cert", host.certificate("SL-1"), "--key", host.key("SL-1"))
        silent = ("--sn-ip", "127.0.0.1", "--sn-api-port", 1, "--data-dir", tmp_path / "data")
        swarm("ca", "revoke", "SL-1", "--out", office.root, *silent, *files, code=1)
        assert len(x509.load_pem_x509_crl(office.revocations("north").read_bytes())) == 1

    def test_a_damaged_list_is_named_and_not_replaced(self, tmp_path: Path, office: Workspace) -> None:
        enrolled(tmp_path / "host", office)
        office.revocations("north").write_text("damaged")
        assert "no revocation list" in swarm("ca", "revoke", "SL-1", "--out", office.root, "--offline", code=1)
        assert office.revocations("north").read_text() == "damaged"


class TestListing:
    def test_the_record_has_all_that_was_issued_by_swarm_cert_too(self, tmp_path: Path, office: Workspace) -> None:
        enrolled(tmp_path / "host", office)
        swarm("cert", "--out", office.root, "--node", "SN-1")
        swarm("ca", "revoke", "SL-1", "--out", office.root, "--offline")
        rows = [line.split() for line in swarm("ca", "list", "--out", office.root).splitlines()[1:]]
        assert sorted((row[0], row[1], row[3]) for row in rows) == [
            ("SL-1", "north", "revoked"),
            ("SN-1", "north", "valid"),
        ]
        assert '"state": "revoked"' in swarm("ca", "list", "--out", office.root, "--json")

    def test_expiry_lists_the_next_one_first_and_tells_a_script_when_it_is_near(
        self, tmp_path: Path, office: Workspace
    ) -> None:
        host = enrolled(tmp_path / "host", office)
        shutil.copy(office.authority_key("north"), host.root / "not-a-certificate.pem")
        lines = swarm("cert", "expiry", host.root).splitlines()[1:]
        assert [line.split()[1] for line in lines][-1].startswith("CN=north")
        assert lines[0].split()[0] == f"{host.identity('SL-1').certificate.not_valid_after_utc:%Y-%m-%d}"
        assert swarm("cert", "expiry", host.root, "--within", "30").splitlines()[1:] == []
        days = (host.identity("SL-1").certificate.not_valid_after_utc - datetime.now(UTC)).days + 1
        assert "CN=SL-1" in swarm("cert", "expiry", host.root, "--within", days, code=1)

    def test_show_names_what_a_certificate_is_for(self, tmp_path: Path, office: Workspace) -> None:
        host = enrolled(tmp_path / "host", office, "--host-ip", "10.0.0.7")
        shown = swarm("cert", "show", host.certificate("SL-1"), ca_file(office))
        assert "CN=SL-1,OU=Swarm-Learning" in shown
        assert "10.0.0.7" in shown
        assert host.identity("SL-1").thumbprint in shown
        assert "certificate authority" in shown
