"""`gen-cert`: the files of the original's script, with which our nodes work."""

from pathlib import Path

import pytest
from cryptography import x509

from swarmlearning.identity.certificates import load_bundle, role_of
from swarmlearning.identity.identity import Identity
from swarmscripts import gencert


def test_the_certificates_of_two_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert gencert.run(["-e", "mnist", "-i", "1"]) == 0

    root = tmp_path / "workspace" / "mnist" / "cert"
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == sorted(
        [
            *("ca/ca-1-key.pem", "ca/ca-1-srl.srl", "ca/capath/ca-1-cert.pem"),
            *(f"{node}-1-{kind}.pem" for node in ("sn", "sl", "swop", "swci") for kind in ("cert", "key")),
        ]
    )
    for node in ("sn", "sl", "swop", "swci"):
        files = root / f"{node}-1-cert.pem", root / f"{node}-1-key.pem"
        identity = Identity.load(None, root / "ca" / "capath", *files)
        assert role_of(identity.certificate) == node.upper()
        assert identity.subject == f"CN={node.upper()}-1,OU=Swarm-Learning"
        names = identity.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [f"{node.upper()}-1"]
        assert files[1].stat().st_mode & 0o077 == 0
    (authority,) = load_bundle((root / "ca" / "capath" / "ca-1-cert.pem").read_bytes())
    assert authority.subject.rfc4514_string() == "CN=CA-1,OU=Swarm-Learning"


@pytest.mark.parametrize("line", ["", "-e mnist", "-i 1", "-e mnist -i", "-e mnist -i 1 more"])
def test_missing_arguments(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gencert.run(line.split()) == 1
    assert capsys.readouterr().err.startswith("Some or all of the parameters are empty\nUsage: gen-cert")


def test_an_index_that_is_no_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert gencert.run(["-e", "mnist", "-i", "../1"]) == 1
    assert list(tmp_path.iterdir()) == []
