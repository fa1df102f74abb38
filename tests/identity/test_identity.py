import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from support import gencert
from support.certs import authority_in, expired, make_workspace, not_yet_valid, stranger
from swarmlearning.identity.ca import KeyPair, create_authority
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.files import IdentityFiles
from swarmlearning.identity.identity import Identity, IdentityError
from swarmlearning.identity.signing import verify
from swarmlearning.identity.workspace import Workspace


@pytest.fixture
def files(tmp_path: Path) -> Workspace:
    """A CA and the certificates of SN-1 and SL-1."""
    make_workspace(tmp_path, ["SN-1", "SL-1"])
    return Workspace(tmp_path)


def load(files: Workspace, node: str = "SL-1") -> Identity:
    return Identity.load(None, files.capath, files.certificate(node), files.key(node))


class TestLoad:
    def test_a_loaded_identity_has_role_subject_chain_and_a_signer(self, files: Workspace) -> None:
        identity = load(files)
        assert identity.role == "SL"
        assert identity.subject == "CN=SL-1,OU=Swarm-Learning"
        assert identity.chain == (identity.certificate,)
        assert identity.anchors == (authority_in(files.root).certificate,)
        signer = identity.signer()
        assert signer.thumbprint == identity.thumbprint
        assert verify(signer.sign(b"x"), identity.certificate) == b"x"

    def test_cas_are_loaded_from_a_file_or_a_folder_or_both(self, files: Workspace, tmp_path: Path) -> None:
        other = make_workspace(tmp_path / "org2", ["SL-2"], ca_name="CA-2")["SL-2"]
        cacert = tmp_path / "cas"
        cacert.write_text(to_pem(other.anchors[0]) + files.authority_certificate("CA-1").read_text())
        certificate, key = files.certificate("SL-1"), files.key("SL-1")
        only_file = Identity.load(cacert, None, certificate, key)
        both = Identity.load(cacert, files.capath, certificate, key)
        assert only_file.anchors == both.anchors == (other.anchors[0], authority_in(files.root).certificate)

    def test_every_ca_certificate_in_the_folder_is_trusted(self, files: Workspace, tmp_path: Path) -> None:
        for number, suffix in ((2, "pem"), (3, "crt"), (4, "PEM")):
            made = make_workspace(tmp_path / f"org{number}", ["SL-1"], ca_name=f"CA-{number}")["SL-1"]
            (files.capath / f"org{number}.{suffix}").write_text(to_pem(made.anchors[0]))
        (files.capath / "README.txt").write_text("no certificate, and not looked at")
        (files.capath / ".ca-9-cert.pem").write_text("half-written")
        assert len(load(files).anchors) == 4

    def test_an_identity_is_loaded_from_files_of_the_original(self, tmp_path: Path) -> None:
        gencert.gen_cert(tmp_path, 1)
        gencert.gen_cert(tmp_path, 2)
        identity = load(Workspace(tmp_path), "SL-2")
        assert (identity.role, len(identity.anchors)) == ("SL", 2)
        assert verify(identity.signer().sign(b"x"), identity.certificate) == b"x"


class TestNoIdentity:
    def test_the_error_about_a_missing_identity_explains_how_to_make_one(self) -> None:
        with pytest.raises(IdentityError) as caught:
            Identity.load(None, None, None, None)
        text = str(caught.value)
        assert text.startswith("No identity specified; missing: certificate, private key, CA certificates.")
        for word in ("swarm cert", "--cert", "--key", "--capath", "--cacert", "SWARM_ID_CERT", "SWARM_ID_KEY"):
            assert word in text

    def test_the_error_about_an_incomplete_identity_names_what_is_missing(self, files: Workspace) -> None:
        certificate, key = files.certificate("SL-1"), files.key("SL-1")
        for arguments, missing in (
            ((None, None, certificate, key), "CA certificates"),
            ((None, files.capath, certificate, None), "private key"),
            ((None, files.capath, None, key), "certificate"),
        ):
            with pytest.raises(IdentityError, match=rf"No identity specified; missing: {missing}\."):
                Identity.load(*arguments)


class TestOptions:
    def environment(self, files: Workspace, node: str = "SN-1") -> dict[str, str]:
        return {
            "SWARM_ID_CAPATH": str(files.capath),
            "SWARM_ID_CERT": str(files.certificate(node)),
            "SWARM_ID_KEY": str(files.key(node)),
        }

    def test_an_identity_is_loaded_from_environment_variables(self, files: Workspace) -> None:
        assert IdentityFiles().or_from(self.environment(files)).load().role == "SN"

    def test_a_ca_file_is_loaded_from_an_environment_variable(self, files: Workspace) -> None:
        environment = self.environment(files) | {
            "SWARM_ID_CAPATH": "",
            "SWARM_ID_CACERT": str(files.authority_certificate("CA-1")),
        }
        assert len(IdentityFiles().or_from(environment).load().anchors) == 1

    def test_an_identity_option_takes_precedence_over_the_environment(self, files: Workspace) -> None:
        environment = self.environment(files, "SN-1")
        certificate, key = files.certificate("SL-1"), files.key("SL-1")
        assert IdentityFiles(cert=certificate, key=key).or_from(environment).load().role == "SL"

    def test_a_ca_option_replaces_all_cas_of_the_environment(self, files: Workspace, tmp_path: Path) -> None:
        other = make_workspace(tmp_path / "org2", ["SL-2"], ca_name="CA-2")["SL-2"]
        environment = self.environment(files) | {"SWARM_ID_CACERT": str(Workspace(tmp_path / "org2").capath)}
        identity = IdentityFiles(cacert=files.authority_certificate("CA-1")).or_from(environment).load()
        assert other.anchors[0] not in identity.anchors

    def test_no_option_and_empty_variables_are_a_missing_identity(self) -> None:
        with pytest.raises(IdentityError, match="No identity specified"):
            IdentityFiles().or_from({"SWARM_ID_CERT": "", "HOME": "/"}).load()


class TestBadFiles:
    """Each error names the file at fault."""

    def refused(self, path: Path, text: str, files: Workspace) -> None:
        with pytest.raises(IdentityError, match=text) as caught:
            load(files)
        assert str(path) in str(caught.value)

    def test_a_missing_certificate_or_key_file_is_named(self, files: Workspace) -> None:
        for path in (files.certificate("SL-1"), files.key("SL-1")):
            content = path.read_bytes()
            path.unlink()
            self.refused(path, "cannot be read: No such file or directory", files)
            path.write_bytes(content)
        load(files)

    def test_a_missing_ca_folder_is_named(self, files: Workspace) -> None:
        shutil.rmtree(files.capath)
        self.refused(files.capath, "cannot be read: No such file.*--capath is a directory", files)

    def test_a_ca_folder_without_certificates_is_named(self, files: Workspace) -> None:
        files.authority_certificate("CA-1").rename(files.capath / "ca-1-cert.txt")
        self.refused(files.capath, "no CA certificate", files)

    def test_a_file_given_as_ca_folder_is_refused(self, files: Workspace) -> None:
        with pytest.raises(IdentityError, match="Not a directory; --capath is a directory"):
            Identity.load(None, files.certificate("SL-1"), files.certificate("SL-1"), files.key("SL-1"))

    def test_a_folder_given_as_certificate_is_refused(self, files: Workspace) -> None:
        with pytest.raises(IdentityError, match=f"{files.root}: cannot be read: Is a directory"):
            Identity.load(None, files.capath, files.root, files.key("SL-1"))

    def test_a_file_without_end_is_refused(self, files: Workspace) -> None:
        for path in (files.key("SL-1"), files.certificate("SL-1")):
            path.unlink()
            path.symlink_to("/dev/zero")
            self.refused(path, "larger than 1048576 bytes", files)

    def test_a_key_file_given_as_certificate_is_refused(self, files: Workspace) -> None:
        certificate, key = files.certificate("SL-1"), files.key("SL-1")
        with pytest.raises(IdentityError, match=f"{key}: no certificate in PEM form"):
            Identity.load(None, files.capath, key, certificate)

    def test_a_key_file_without_a_key_is_refused(self, files: Workspace) -> None:
        for content in (b"", b"\x00\xff", files.certificate("SL-1").read_bytes()):
            files.key("SL-1").write_bytes(content)
            self.refused(files.key("SL-1"), "no private key in PEM form that can be read", files)

    def test_the_key_of_another_node_is_refused(self, files: Workspace) -> None:
        shutil.copy(files.key("SN-1"), files.key("SL-1"))
        self.refused(files.key("SL-1"), "do not fit: the private key is not the key of certificate 'CN=SL-1", files)
        self.refused(files.certificate("SL-1"), "do not fit", files)

    def test_an_encrypted_key_is_refused_with_a_hint(self, files: Workspace) -> None:
        path = files.key("SL-1")
        key = load_pem_private_key(path.read_bytes(), None)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
        self.refused(path, "the private key is encrypted.*openssl pkey", files)

    def test_a_key_of_an_unknown_kind_is_refused(self, files: Workspace) -> None:
        key = ec.generate_private_key(ec.SECP521R1())
        authority = authority_in(files.root)
        old = load(files).certificate
        builder = x509.CertificateBuilder(
            old.issuer, old.subject, key.public_key(), 1, old.not_valid_before_utc, old.not_valid_after_utc
        )
        files.save_node("SL-1", KeyPair(builder.sign(authority.key, hashes.SHA256()), key))
        self.refused(files.certificate("SL-1"), "has a key that cannot sign here", files)

    def test_a_node_certificate_among_the_cas_is_refused(self, files: Workspace) -> None:
        path = files.capath / "sl-1-cert.pem"
        shutil.copy(files.certificate("SL-1"), path)
        self.refused(path, "'CN=SL-1,OU=Swarm-Learning' is not a CA certificate", files)

    def test_a_key_among_the_cas_is_refused(self, files: Workspace) -> None:
        path = files.capath / "ca-1-key.pem"
        shutil.copy(files.authority_key("CA-1"), path)
        self.refused(path, "no certificate in PEM form", files)

    def test_a_certificate_of_an_unknown_ca_is_refused(self, files: Workspace) -> None:
        other = stranger(files.root, "SL-1")
        shutil.copy(other.cert_path, files.certificate("SL-1"))
        shutil.copy(other.key_path, files.key("SL-1"))
        self.refused(files.certificate("SL-1"), "bad signature.*another CA uses that name too", files)

    def test_an_expired_certificate_is_refused(self, files: Workspace) -> None:
        expired(files.root, "SL-1")
        self.refused(files.certificate("SL-1"), "'CN=SL-1,OU=Swarm-Learning' expired at .*must renew it", files)

    def test_a_certificate_that_is_not_yet_valid_is_refused(self, files: Workspace) -> None:
        not_yet_valid(files.root, "SL-1")
        self.refused(files.certificate("SL-1"), "not yet valid before .*check the clocks", files)

    def test_a_node_starts_although_the_ca_of_another_organisation_has_expired(self, files: Workspace) -> None:
        """Its nodes are refused, but this one starts."""
        ended = create_authority("CA-2", days=0).certificate
        (files.capath / "org2.pem").write_text(to_pem(ended))
        assert ended in load(files).anchors
