import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from cryptography import x509
from typer.testing import CliRunner, Result

from support.certs import make_workspace
from swarmlearning.cli import cert
from swarmlearning.identity.certificates import authority_of, load_bundle, load_certificate, to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace

swarm = typer.Typer()
swarm.add_typer(cert.app, name="cert")


@swarm.command()
def other() -> None:
    """A second command, so that `cert` is called by its name as in the real program."""


def run(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(swarm, ["cert", "--out", str(out), *arguments])


def succeeds(out: Path, *arguments: str) -> str:
    result = run(out, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(code: int, out: Path, *arguments: str) -> str:
    """The error text, without the frame that Typer draws and its line breaks."""
    before = {path: path.read_bytes() for path in out.rglob("*.pem")}
    result = run(out, *arguments)
    assert result.exit_code == code, result.output
    assert {path: path.read_bytes() for path in out.rglob("*.pem")} == before
    return " ".join(result.stderr.replace("│", " ").split())


class TestMaking:
    def test_swarm_cert_makes_a_ca_and_node_certificates_at_its_first_call(self, tmp_path: Path) -> None:
        succeeds(tmp_path / "new" / "cert", "--node", "SN-1", "--node", "sl-hospital-A")
        workspace = Workspace(tmp_path / "new" / "cert")
        sn, sl = workspace.identity("SN-1"), workspace.identity("sl-hospital-A")
        assert (sn.role, sl.role) == ("SN", "SL")
        assert sl.subject == "CN=SL-hospital-A,OU=Swarm-Learning"
        assert sn.anchors == sl.anchors
        assert sn.anchors[0].subject.rfc4514_string() == "CN=CA-1,OU=Swarm-Learning"

    def test_swarm_cert_uses_the_same_ca_at_its_second_call(self, tmp_path: Path) -> None:
        assert "new CA CA-1" in succeeds(tmp_path, "--node", "SN-1")
        assert "existing CA CA-1" in succeeds(tmp_path, "--node", "SL-1")
        workspace = Workspace(tmp_path)
        assert workspace.identity("SN-1").anchors == workspace.identity("SL-1").anchors

    def test_swarm_cert_does_not_write_an_existing_ca_again(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SN-1")
        files = [Workspace(tmp_path).authority_certificate("CA-1"), Workspace(tmp_path).authority_key("CA-1")]
        for file in files:
            file.write_text(f"of our hospital\n{file.read_text()}")
        succeeds(tmp_path, "--node", "SL-1")
        assert all(file.read_text().startswith("of our hospital") for file in files)

    def test_swarm_cert_uses_the_ca_whose_key_is_there_whatever_its_name(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SN-2", "--ca-name", "CA-2")
        foreign = make_workspace(tmp_path / "org1", ["SN-1"])["SN-1"].anchors[0]
        (tmp_path / "ca" / "capath" / "ca-1-cert.pem").write_text(to_pem(foreign))
        succeeds(tmp_path, "--node", "SL-2")
        assert Workspace(tmp_path).authorities() == ["CA-2"]
        assert Workspace(tmp_path).identity("SL-2").anchors[0] == foreign

    def test_swarm_cert_makes_a_ca_that_the_present_one_vouches_for(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SL-1")
        shown = succeeds(tmp_path, "--node", "SL-2", "--ca-name", "CA-2", "--succeeds", "ca-1")
        workspace = Workspace(tmp_path)
        assert f"swarm trust add {workspace.successor('CA-2')} --organisation YOUR-ORGANISATION" in shown
        own, crossed = load_bundle(workspace.successor("CA-2").read_bytes())
        assert own == load_certificate(workspace.authority_certificate("CA-2").read_bytes())
        crossed.verify_directly_issued_by(load_certificate(workspace.authority_certificate("CA-1").read_bytes()))
        assert authority_of(crossed) == authority_of(own)

    def test_swarm_cert_refuses_a_successor_of_a_ca_whose_key_is_not_there(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SL-1")
        text = refused(1, tmp_path, "--node", "SL-2", "--ca-name", "CA-2", "--succeeds", "CA-3")
        assert "the private key of CA CA-3 is not in" in text
        assert "CAs there: CA-1" in text

    def test_swarm_cert_refuses_a_ca_that_succeeds_itself(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SL-1")
        text = refused(1, tmp_path, "--node", "SL-2", "--succeeds", "CA-1")
        assert "CA CA-1 cannot succeed itself; name the new one with --ca-name" in text

    def test_swarm_cert_keeps_the_operators_certificate_with_which_a_new_ca_has_to_be_added(
        self, tmp_path: Path
    ) -> None:
        succeeds(tmp_path, "--node", "OPERATOR-1", "--node", "SL-1")
        new = ("--ca-name", "CA-2", "--succeeds", "CA-1", "--force", "--node", "SL-1")
        text = refused(1, tmp_path, *new, "--node", "OPERATOR-1")
        assert "operator-1-cert.pem is needed as it is, to add the new CA" in text
        succeeds(tmp_path, *new)
        succeeds(tmp_path, "--ca-name", "CA-2", "--node", "OPERATOR-1", "--force")  # once the CA is added

    def test_swarm_cert_shows_an_existing_ca_by_its_own_name(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SN-1", "--ca-name", "Hospital-a")
        assert "existing CA Hospital-a." in succeeds(tmp_path, "--node", "SL-1")

    def test_swarm_cert_writes_addresses_and_days_into_the_certificate(self, tmp_path: Path) -> None:
        options = ["--host-ip", "10.0.0.1", "--host-ip", "::1", "--dns", "sn.example.org", "--days", "7"]
        succeeds(tmp_path, "--node", "SN-1", *options)
        certificate = load_certificate(Workspace(tmp_path).certificate("SN-1").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["SN-1", "sn.example.org"]
        assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
        assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 7

    def test_swarm_cert_with_force_replaces_a_certificate(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SN-1")
        old = Workspace(tmp_path).identity("SN-1")
        succeeds(tmp_path, "--node", "SN-1", "--force")
        new = Workspace(tmp_path).identity("SN-1")
        assert new.thumbprint != old.thumbprint
        assert new.anchors == old.anchors


class TestOutput:
    def test_the_commands_that_swarm_cert_prints_name_usable_files(self, tmp_path: Path) -> None:
        out = tmp_path / "it's mine"
        output = succeeds(out, "--node", "SN-1", "--node", "SL-1", "--node", "SL-2", "--host-ip", "10.0.0.1")
        commands = [shlex.split(line) for line in output.splitlines() if line.startswith("  swarm ")]
        assert [command[1:3] for command in commands] == [
            ["sn", "--sentinel"],
            ["sn", "--sentinel-ip"],
            ["sl", "--sn-ip"],
        ]
        for command in commands:
            options = dict(pairwise(command))
            assert options["--host-ip"] == "10.0.0.1"
            Identity.load(None, Path(options["--capath"]), Path(options["--cert"]), Path(options["--key"]))

    def test_swarm_cert_prints_one_command_that_founds_the_network_and_one_that_joins_it(self, tmp_path: Path) -> None:
        lines = succeeds(tmp_path, "--node", "SN-2").splitlines()
        founding = next(number for number, line in enumerate(lines) if line.startswith("  swarm sn --sentinel "))
        joining = next(number for number, line in enumerate(lines) if line.startswith("  swarm sn --sentinel-ip "))
        assert lines[founding - 1] == "on one host of the whole network, the SN that founds it:"
        assert lines[joining - 1].startswith("on every other host with an SN, which joins through one that runs")
        assert "exchange these CA certificates" in "".join(lines[joining:])

    def test_swarm_cert_prints_which_file_to_exchange_and_that_its_ca_is_for_trying_out(self, tmp_path: Path) -> None:
        output = succeeds(tmp_path, "--node", "SWOP-1")
        assert f"send {Workspace(tmp_path).authority_certificate('CA-1')} to the others" in output
        assert "for trying out" in output
        assert "Next:" not in output

    def test_swarm_cert_prints_every_file_that_it_has_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        output = succeeds(Path("cert"), "--node", "SN-1")
        for name in ("ca/ca-1-key.pem", "ca/capath/ca-1-cert.pem", "sn-1-key.pem", "sn-1-cert.pem"):
            assert f"cert/{name} " in output


class TestRefusal:
    def test_swarm_cert_keeps_an_existing_certificate(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SN-1")
        text = refused(1, tmp_path, "--node", "SL-1", "--node", "sn-1")
        assert text.startswith(f"swarm cert: {tmp_path}/sn-1-cert.pem exists already")
        assert "--force" in text

    @pytest.mark.parametrize("name", ["SN", "SN-", "X-1", "1-SN", "SN-1/../../x", "SN-ä", "SN- 1", ""])
    def test_swarm_cert_refuses_a_node_name_without_a_role(self, tmp_path: Path, name: str) -> None:
        text = refused(2, tmp_path, "--node", name)
        assert "a node's name begins with its role" in text

    def test_swarm_cert_refuses_a_node_that_is_named_twice(self, tmp_path: Path) -> None:
        text = refused(1, tmp_path, "--node", "SL-1", "--node", "SN-A", "--node", "sn-a")
        assert "SN-A is named twice" in text

    def test_swarm_cert_refuses_invalid_addresses(self, tmp_path: Path) -> None:
        assert "host names go to --dns" in refused(2, tmp_path, "--node", "SN-1", "--host-ip", "sn.example.org")
        for name in ("a b", "-x", "müller", "http://x"):
            assert "is not a host name" in refused(2, tmp_path, "--node", "SN-1", "--dns", name)

    def test_swarm_cert_refuses_an_invalid_ca_name(self, tmp_path: Path) -> None:
        assert "such as CA-2" in refused(2, tmp_path, "--node", "SN-1", "--ca-name", "../x")

    def test_swarm_cert_without_a_node_is_a_usage_error(self, tmp_path: Path) -> None:
        assert "--node" in refused(2, tmp_path)

    def test_swarm_cert_refuses_a_name_that_is_too_long_for_a_certificate(self, tmp_path: Path) -> None:
        assert "cannot be the name of a certificate" in refused(1, tmp_path, "--node", f"SN-{'x' * 80}")

    def test_swarm_cert_refuses_the_ca_name_of_another_organisation(self, tmp_path: Path) -> None:
        foreign = make_workspace(tmp_path / "org1", ["SN-1"])["SN-1"].anchors[0]
        capath = tmp_path / "org2" / "ca" / "capath"
        capath.mkdir(parents=True)
        (capath / "ca-1-cert.pem").write_text(to_pem(foreign))
        assert "another organisation has that name" in refused(1, tmp_path / "org2", "--node", "SN-2")

    def test_swarm_cert_asks_for_a_name_where_there_are_several_cas(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SN-1")
        succeeds(tmp_path, "--node", "SN-2", "--ca-name", "CA-2")
        assert "--ca-name CA-1|CA-2" in refused(1, tmp_path, "--node", "SN-3")
        succeeds(tmp_path, "--node", "SN-3", "--ca-name", "ca-2")

    def test_swarm_cert_refuses_a_damaged_ca(self, tmp_path: Path) -> None:
        succeeds(tmp_path, "--node", "SN-1")
        Workspace(tmp_path).authority_key("CA-1").write_text("")
        assert "no usable CA" in refused(1, tmp_path, "--node", "SL-1")

    def test_swarm_cert_names_a_folder_that_it_cannot_create(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert "Not a directory" in refused(1, tmp_path / "file" / "cert", "--node", "SN-1")
