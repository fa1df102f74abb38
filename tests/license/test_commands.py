"""`swarm license`: keys, licenses, revocations and what is wrong with them; and files that change under a server."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from support.certs import make_workspace
from support.licenses import Issuer
from support.swarm import identity_options
from swarmlearning.cli.main import app
from swarmlearning.license.features import Feature, LicenseError
from swarmlearning.license.shelf import Shelf

NOW = 10**12


def swarm_license(*words: str | Path) -> tuple[int, str]:
    """Exit status and output, on one line where it was wrapped."""
    done = CliRunner().invoke(app, ["license", *map(str, words)], env={"COLUMNS": "500"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def done(*words: str | Path) -> str:
    status, output = swarm_license(*words)
    assert status == 0, output
    return output


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "issuer.pem"
    done("key", path)
    return path


def shown(path: Path, *options: str | Path) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(done("inspect", path, "--json", *options))
    return found[0]


def test_a_license_is_issued_inspected_and_revoked(key: Path, tmp_path: Path) -> None:
    public, path, revoked = key.with_name("issuer.pem.pub"), tmp_path / "a.lic", tmp_path / "revoked"
    assert key.stat().st_mode & 0o777 == 0o600
    issued = done("issue", path, "--key", key, "--licensee", "Clinic", "--feature", "SL=8", "--feature", "1100000396=1")
    document = shown(path, "--issuer", public)
    assert f"License {document['id']} for Clinic: sl 8, taskrunners 1, until" in issued
    assert document["features"] == {"1100000378": 8, "1100000396": 1}
    assert document["expires_ms"] - document["not_before_ms"] == 365 * 24 * 3600 * 1000
    text = done("inspect", path)
    assert "signature not verified" in text
    assert "in force" in text

    shelf = Shelf([path], [], [public])
    assert shelf.refresh().of(Feature.SL, document["not_before_ms"]).capacity == 8
    done("revoke", revoked, path, "--key", key)
    assert "2 revoked licenses" in done("revoke", revoked, "f" * 32, "--key", key)
    assert shown(revoked)["licenses"] == [document["id"], "f" * 32]
    assert Shelf([path], [revoked], [public]).rights.of(Feature.SL, document["not_before_ms"]).capacity == 0


def test_without_features_a_license_is_the_community_one_and_it_may_begin_later(key: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.lic"
    done("issue", path, "--key", key, "--licensee", "Clinic", "--begins-in", "2")
    assert shown(path)["features"] == {"1100000378": 5, "1100000380": 5, "1100000388": 5, "1100000390": 5}
    assert "begins at" in done("inspect", path)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("issue", "new", "--licensee", "x", "--feature", "SL"), "--feature 'SL': expected FEATURE=TOKENS"),
        (("issue", "new", "--licensee", "x", "--feature", "SL=0"), "--feature 'SL=0': expected FEATURE=TOKENS"),
        (("issue", "new", "--licensee", "x", "--feature", "XX=1"), "'XX' is no feature of a license; there is sl"),
        (("issue", "new", "--licensee", ""), "--licensee: a name of 1 to 200 characters"),
        (("issue", "there", "--licensee", "x"), "exists; choose another name for the new license"),
        (("issue", "no/folder", "--licensee", "x"), "no/folder: cannot be written: No such file or directory"),
        (("revoke", "new", "nothing"), "nothing: cannot be read: No such file or directory"),
        (("revoke", "there", "f" * 32), "there: no license document: it does not have the three parts"),
    ],
)
def test_what_is_wrong_is_named(
    words: tuple[str, ...], fault: str, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("something")
    status, output = swarm_license(*words, "--key", key)
    assert (status, fault in output) == (1, True), output
    assert output.startswith(f"swarm license {words[0]}: ")
    assert not (tmp_path / "new").exists()


def test_a_key_is_never_overwritten_and_a_foreign_signature_is_named(key: Path, tmp_path: Path) -> None:
    assert swarm_license("key", key) == (1, f"swarm license key: {key}: exists; a key is never overwritten\n")
    other = tmp_path / "other.pem"
    done("key", other)
    done("issue", tmp_path / "a.lic", "--key", key, "--licensee", "x")
    status, output = swarm_license("inspect", tmp_path / "a.lic", "--issuer", tmp_path / "other.pem.pub")
    assert status == 1
    assert "which is not among the issuers" in output


def test_a_server_refuses_a_node_s_certificate_and_a_secondary_without_a_primary(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "licenses")
    issuer.issue({Feature.SL: 1})
    identity = make_workspace(tmp_path / "cert", ["SL-1"])["SL-1"]
    options = {"license": issuer.license, "issuer": issuer.public, **identity_options(identity)}
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    status, output = swarm_license("serve", *words)
    assert (status, "is not for a license server (CN=LICENSE-1, or spiffe://" in output) == (1, True), output
    status, output = swarm_license("serve", *words, "--secondary")
    assert (status, "--secondary needs --other" in output) == (1, True), output


def test_changed_documents_are_read_anew_and_those_that_cannot_be_used_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(tmp_path)
    first = issuer.issue({Feature.SL: 1})
    shelf = Shelf([issuer.license], [issuer.revoked], [issuer.public])
    now = first.not_before_ms
    assert shelf.refresh().of(Feature.SL, now).capacity == 1
    second = issuer.issue({Feature.SL: 7})
    assert shelf.refresh().of(Feature.SL, second.not_before_ms).capacity == 7
    issuer.license.write_text("half a lic")
    assert shelf.refresh().of(Feature.SL, second.not_before_ms).capacity == 7
    issuer.license.unlink()
    assert shelf.refresh().of(Feature.SL, second.not_before_ms).capacity == 7
    issuer.issue({Feature.SL: 2})
    issuer.revoke(second.id)
    assert shelf.refresh().of(Feature.SL, second.not_before_ms + 60_000).capacity == 2
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert all("Everything stays as it was before this change" in each for each in errors)


def test_a_pipe_in_place_of_a_document_is_refused(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    os.mkfifo(issuer.license)
    with pytest.raises(LicenseError, match="license: cannot be read: not a plain file"):
        Shelf([issuer.license], [], [issuer.public])


def test_help_names_all_features() -> None:
    shown = done("issue", "--help")
    assert all(feature.title in shown for feature in Feature)
