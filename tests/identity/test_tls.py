import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from support import gencert
from support.certs import expired, make_workspace, not_yet_valid, stranger, with_key
from swarmlearning.identity.ca import KeyPair, issue
from swarmlearning.identity.certificates import CertificateError, to_pem
from swarmlearning.identity.identity import Identity, IdentityError
from swarmlearning.identity.source import Latest
from swarmlearning.identity.tls import (
    CurrentContext,
    NodeTls,
    client_context,
    follow_source,
    peer_certificate,
    require_role,
    server_context,
)
from swarmlearning.identity.workspace import Workspace

SECONDS = 120  # only ends a test that would hang


class Refused(Exception):
    """The errors of both sides of a failed handshake."""

    def __init__(self, server: BaseException | None, client: BaseException | None) -> None:
        super().__init__(f"server: {server}; client: {client}")


def meet(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[x509.Certificate, x509.Certificate]:
    """Connects the two over a real socket. Returns the certificate that the server and the client have seen."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(SECONDS)
        serving = pool.submit(_serve, listener, server)
        try:
            seen_by_client = _connect(listener.getsockname(), client)
        except (OSError, CertificateError) as error:
            raise Refused(serving.exception(), error) from error
        return serving.result(), seen_by_client


def _serve(listener: socket.socket, context: ssl.SSLContext) -> x509.Certificate:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(SECONDS)
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"hello")
            tls.recv(1)
            return peer_certificate(tls)


def _connect(address: tuple[str, int], context: ssl.SSLContext) -> x509.Certificate:
    with socket.create_connection(address, SECONDS) as connection, context.wrap_socket(connection) as tls:
        # TLS 1.3: the client learns only now whether the server has accepted its certificate.
        if tls.recv(5) != b"hello":
            raise ConnectionError("closed by the server")
        assert tls.version() == "TLSv1.3"
        certificate = peer_certificate(tls)
        tls.sendall(b"x")
        return certificate


def between(server: Identity, client: Identity) -> tuple[x509.Certificate, x509.Certificate]:
    return meet(server_context(server), client_context(client))


@pytest.fixture
def nodes(tmp_path: Path) -> dict[str, Identity]:
    return make_workspace(tmp_path, ["SN-1", "SL-1"])


@pytest.fixture
def foreign(tmp_path: Path) -> Identity:
    """An SL of an organisation that trusts everybody here, but that nobody here trusts."""
    home = make_workspace(tmp_path, ["SN-1"])["SN-1"]
    other = stranger(tmp_path, "SL-1")
    return replace(other, anchors=other.anchors + home.anchors)


def ca_below_another() -> tuple[KeyPair, KeyPair]:
    """A CA, and the root CA that has issued its certificate."""
    root, key = gencert.make_authority("Root"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=Below")
    begin, end = root.certificate.not_valid_before_utc, root.certificate.not_valid_after_utc
    builder = x509.CertificateBuilder(root.certificate.subject, name, key.public_key(), 7, begin, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return KeyPair(builder.sign(root.key, hashes.SHA256()), key), root


class TestAccepted:
    def test_both_sides_of_a_connection_get_the_others_certificate(self, nodes: dict[str, Identity]) -> None:
        sn, sl = nodes["SN-1"], nodes["SL-1"]
        assert between(sn, sl) == (sl.certificate, sn.certificate)

    @pytest.mark.parametrize("authority_key_identifier", [True, False])
    @pytest.mark.parametrize("accumulate_names", [True, False])
    def test_nodes_with_certificates_of_the_original_connect(
        self, tmp_path: Path, authority_key_identifier: bool, accumulate_names: bool
    ) -> None:
        made = gencert.gen_cert(
            tmp_path, authority_key_identifier=authority_key_identifier, accumulate_names=accumulate_names
        )
        sn, sl = made["SN-1"], made["SL-1"]
        assert between(sn, sl) == (sl.certificate, sn.certificate)

    def test_two_nodes_that_share_one_certificate_connect(self, tmp_path: Path) -> None:
        sl = gencert.gen_cert(tmp_path)["SL-1"]
        assert between(sl, sl) == (sl.certificate, sl.certificate)

    def test_nodes_of_two_organisations_that_exchanged_their_cas_connect(self, tmp_path: Path) -> None:
        one, two = Workspace(tmp_path / "1"), Workspace(tmp_path / "2")
        make_workspace(one.root, ["SN-1"], ca_name="CA-1")
        gencert.gen_cert(two.root, 2)
        for source, target, name in ((one, two, "CA-1"), (two, one, "CA-2")):
            pem = source.authority_certificate(name).read_bytes()
            target.authority_certificate(name).write_bytes(pem)
        sn, sl = one.identity("SN-1"), two.identity("SL-2")
        assert between(sn, sl) == (sl.certificate, sn.certificate)

    def test_a_node_of_an_intermediate_ca_connects_if_the_ca_is_sent_or_trusted(self, tmp_path: Path) -> None:
        below, root = ca_below_another()
        leaf = issue(below, "SL-1", [], [], 1)
        workspace = Workspace(tmp_path)
        workspace.save_node("SL-1", leaf)
        path = workspace.certificate("SL-1")
        path.write_text(to_pem(leaf.certificate) + to_pem(below.certificate))
        for trusted in (root, below):
            cacert = tmp_path / "trusted.pem"
            cacert.write_text(to_pem(trusted.certificate))
            sl = Identity.load(cacert, None, path, workspace.key("SL-1"))
            assert between(sl, sl) == (leaf.certificate, leaf.certificate)


class TestRefused:
    def test_the_server_refuses_a_client_of_another_ca(self, nodes: dict[str, Identity], foreign: Identity) -> None:
        with pytest.raises(Refused, match=r"server: [^;]*certificate verify failed"):
            between(nodes["SN-1"], foreign)

    def test_the_client_refuses_a_server_of_another_ca(self, nodes: dict[str, Identity], foreign: Identity) -> None:
        with pytest.raises(Refused, match=r"client: [^;]*certificate verify failed"):
            between(foreign, nodes["SL-1"])

    def test_the_server_refuses_an_expired_client(self, nodes: dict[str, Identity], tmp_path: Path) -> None:
        with pytest.raises(Refused, match=r"server: [^;]*certificate has expired"):
            between(nodes["SN-1"], expired(tmp_path, "SL-1"))

    def test_the_client_refuses_an_expired_server(self, nodes: dict[str, Identity], tmp_path: Path) -> None:
        with pytest.raises(Refused, match=r"client: [^;]*certificate has expired"):
            between(expired(tmp_path, "SN-1"), nodes["SL-1"])

    def test_the_server_refuses_a_client_that_is_not_yet_valid(
        self, nodes: dict[str, Identity], tmp_path: Path
    ) -> None:
        with pytest.raises(Refused, match=r"server: [^;]*certificate is not yet valid"):
            between(nodes["SN-1"], not_yet_valid(tmp_path, "SL-1"))

    def test_the_server_refuses_a_client_without_a_certificate(self, nodes: dict[str, Identity]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=to_pem(nodes["SN-1"].anchors[0]))
        with pytest.raises(Refused, match=r"server: [^;]*peer did not return a certificate"):
            meet(server_context(nodes["SN-1"]), context)

    def test_a_certificate_issued_by_a_node_is_refused(self, nodes: dict[str, Identity], tmp_path: Path) -> None:
        """A node of the original may sign certificates by its key usage, but it is no CA."""
        workspace = Workspace(tmp_path)
        authority = gencert.make_authority("CA-1")
        node = gencert.make_node(authority, "SL-1", ["SL-1"])
        forged = issue(node, "SN-1", [], [], 1)
        workspace.save_node("SL-1", node)
        workspace.save_node("SN-1", forged)
        path = workspace.certificate("SN-1")
        path.write_text(to_pem(forged.certificate) + to_pem(node.certificate))
        anchors = (authority.certificate,)
        honest = Identity((node.certificate,), anchors, workspace.certificate("SL-1"), workspace.key("SL-1"), node.key)
        chain = (forged.certificate, node.certificate)
        thief = Identity(chain, anchors, path, workspace.key("SN-1"), forged.key)
        with pytest.raises(Refused, match=r"server: [^;]*invalid CA certificate"):
            between(honest, thief)

    @pytest.mark.parametrize("old_side", ["server", "client"])
    def test_a_peer_that_offers_only_tls_1_2_is_refused(self, nodes: dict[str, Identity], old_side: str) -> None:
        contexts = {"server": server_context(nodes["SN-1"]), "client": client_context(nodes["SL-1"])}
        contexts[old_side].minimum_version = ssl.TLSVersion.TLSv1_2
        contexts[old_side].maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(Refused, match="version"):
            meet(contexts["server"], contexts["client"])


class TestContext:
    def test_a_tls_context_trusts_only_the_cas_of_the_identity(self, nodes: dict[str, Identity]) -> None:
        anchors = [anchor.public_bytes(Encoding.DER) for anchor in nodes["SN-1"].anchors]
        for context in (server_context(nodes["SN-1"]), client_context(nodes["SN-1"])):
            assert context.get_ca_certs(binary_form=True) == anchors

    def test_certificates_of_the_original_need_tls_without_the_strict_checks(self, tmp_path: Path) -> None:
        """So they are off; Python 3.13 has them on by default."""
        made = gencert.gen_cert(tmp_path, authority_key_identifier=False)
        strict = client_context(made["SL-1"])
        assert not strict.verify_flags & ssl.VERIFY_X509_STRICT
        strict.verify_flags |= ssl.VERIFY_X509_STRICT
        with pytest.raises(Refused, match=r"client: [^;]*certificate verify failed"):
            meet(server_context(made["SN-1"]), strict)

    def test_a_context_has_what_was_checked_when_the_identity_was_read_whatever_its_files_hold_by_now(
        self, nodes: dict[str, Identity]
    ) -> None:
        nodes["SN-1"].key_path.write_text("")
        nodes["SN-1"].cert_path.unlink()
        meet(server_context(nodes["SN-1"]), client_context(nodes["SL-1"]))

    def test_an_identity_that_openssl_refuses_is_named_in_the_error(self, nodes: dict[str, Identity]) -> None:
        mixed = replace(nodes["SN-1"], private_key=nodes["SL-1"].private_key)
        with pytest.raises(IdentityError, match=f"TLS refuses {nodes['SN-1'].cert_path} with"):
            server_context(mixed)


class TestPeer:
    def test_a_peer_that_showed_no_certificate_is_an_error(self, nodes: dict[str, Identity]) -> None:
        lax = server_context(nodes["SN-1"])
        lax.verify_mode = ssl.CERT_NONE
        with pytest.raises(CertificateError, match="the peer has shown no certificate"):
            meet(lax, client_context(nodes["SL-1"]))

    def test_a_peer_without_one_of_the_required_roles_is_an_error(self, nodes: dict[str, Identity]) -> None:
        certificate = nodes["SL-1"].certificate
        assert require_role(certificate, "SL") == "SL"
        assert require_role(certificate, "SN", "SL") == "SL"
        with pytest.raises(CertificateError, match="is for the role SL; needed here: SN or UI"):
            require_role(certificate, "SN", "UI")


def test_a_node_that_uses_another_identity_shows_it_and_trusts_its_anchors_alone_beside_those_of_the_ledger(
    nodes: dict[str, Identity], foreign: Identity, tmp_path: Path
) -> None:
    other = make_workspace(tmp_path / "org2", ["SL-2", "SN-2"], ca_name="CA-2")
    here = NodeTls(nodes["SN-1"])
    server, client = here.server, here.client  # as a listener and a client keep them
    here.trust(map(to_pem, foreign.anchors[:1]))  # the stranger's own
    here.use(other["SN-2"])
    assert meet(server, client_context(other["SL-2"]))[1] == other["SN-2"].certificate
    assert meet(server_context(other["SL-2"]), client)[0] == other["SN-2"].certificate
    with pytest.raises(Refused):  # its anchors are no longer trusted
        meet(server, client_context(replace(nodes["SL-1"], anchors=other["SN-2"].anchors)))
    meet(server, client_context(replace(foreign, anchors=other["SN-2"].anchors)))


def test_an_authority_of_the_ledger_stays_trusted_when_it_is_left_out_of_the_files(
    nodes: dict[str, Identity], tmp_path: Path
) -> None:
    other = make_workspace(tmp_path / "org2", ["SN-2"], ca_name="CA-2")["SN-2"]
    both = replace(nodes["SN-1"], anchors=nodes["SN-1"].anchors + other.anchors)
    here = NodeTls(both)
    here.trust(map(to_pem, both.anchors))
    here.use(nodes["SN-1"])
    meet(here.server, client_context(replace(other, anchors=both.anchors)))


@pytest.mark.parametrize("kinds", [("rsa", "ec"), ("ec", "ed25519"), ("ed25519", "rsa"), ("p384", "rsa")])
def test_a_node_that_gets_a_key_of_another_kind_shows_only_the_new_certificate(
    nodes: dict[str, Identity], tmp_path: Path, kinds: tuple[str, str]
) -> None:
    old, new = (with_key(tmp_path, "SN-1", kind) for kind in kinds)
    tls = NodeTls(old)
    assert meet(tls.server, client_context(nodes["SL-1"]))[1] == old.certificate
    tls.use(new)
    assert meet(tls.server, client_context(nodes["SL-1"]))[1] == new.certificate
    assert meet(server_context(nodes["SN-1"]), tls.client)[0] == new.certificate


def test_a_running_node_meets_those_whose_authority_the_ledger_admits_later(
    nodes: dict[str, Identity], foreign: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = NodeTls(nodes["SN-1"]), NodeTls(foreign)
    with pytest.raises(Refused):
        meet(here.server, there.client)
    here.trust(["no certificate", *map(to_pem, foreign.anchors)])
    there.trust(map(to_pem, nodes["SN-1"].anchors))
    for server, client in ((here, there), (there, here)):
        meet(server.server, client.client)
    assert "TLS cannot use the certificate of an authority on the ledger" in caplog.text


async def test_an_identity_that_changes_before_it_is_followed_is_not_missed(tmp_path: Path) -> None:
    old = make_workspace(tmp_path, ["SN-1"])["SN-1"]
    new = with_key(tmp_path, "SN-1", "ec")
    source, tls, made = Latest(old), CurrentContext(server_context(old)), asyncio.Event()

    def make(identity: Identity) -> ssl.SSLContext:
        assert identity == new
        made.set()
        return server_context(identity)

    source.replace(new)
    following = asyncio.create_task(follow_source(tls, make, source, old))
    async with asyncio.timeout(SECONDS):
        await made.wait()
    following.cancel()
