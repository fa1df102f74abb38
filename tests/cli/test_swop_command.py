"""The options of `swarm swop`: the documented errors, and where the SN's address comes from."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from support.certs import make_workspace
from support.swarm import identity_options
from swarmlearning.cli.main import app
from swarmlearning.cli.options import Credentials, LicenseOptions, MetricsOptions, NodeProcess
from swarmlearning.cli.swop import SwopOptions

PROFILE = """
groupname: g
taskrunner: r
resourcemgr: {{mgrtype: PROCESS}}
apisrv: {{locator: {{host: {host}, port: {port}, service: {service}}}}}
nodes:
  - slnodedef:
      {{idx: 0, identity: [], slhostname: null, slenvvars: null, privatedata: null, usrhostname: null,
        usrenvvars: null}}
"""


def write(folder: Path, host: str = "null", port: str = "null", service: str = "null") -> None:
    (folder / "profile.yaml").write_text(PROFILE.format(host=host, port=port, service=service))


def settings(tmp_path: Path, license: LicenseOptions | None = None, **options: Any) -> Any:
    identity = make_workspace(tmp_path / "cert", ["SWOP-1"])["SWOP-1"]
    given = SwopOptions(
        **{"usr_dir": tmp_path, "profile_file_name": "profile.yaml", "data_dir": tmp_path / "data", **options},
        credentials=Credentials(),
        license=license or LicenseOptions(),
        process=NodeProcess(),
        metrics=MetricsOptions(),
    )
    return given.settings(identity)


def test_the_profiles_sn_goes_before_that_of_the_options(tmp_path: Path) -> None:
    write(tmp_path)
    by_options = settings(tmp_path, sn_ip="127.0.0.1", sn_api_port=5)
    assert (by_options.sn_address, by_options.contact.sn_ip, by_options.contact.sn_api_port) == (
        *("127.0.0.1:5", "127.0.0.1"),
        5,
    )
    assert by_options.contact.host_ip == "127.0.0.1"
    assert settings(tmp_path, sn_api_service="api.sn").contact.sn_api_service == "api.sn:443"
    write(tmp_path, host="10.0.0.9")
    assert settings(tmp_path, sn_ip="127.0.0.1").sn_address == "10.0.0.9:30304"
    write(tmp_path, service="api.example.org:444")
    assert settings(tmp_path, sn_ip="127.0.0.1", host_ip="10.0.0.1").sn_address == "api.example.org:444"


def test_the_profiles_license_server_goes_before_that_of_the_options_and_sls_are_told_the_same(tmp_path: Path) -> None:
    write(tmp_path)
    named = LicenseOptions(apls_ip="10.0.0.8", secondary_apls_ip="10.0.0.7", secondary_apls_port=7)
    assert settings(tmp_path, sn_ip="127.0.0.1").license_servers.addresses == ()
    by_options = settings(tmp_path, named, sn_ip="127.0.0.1").license_servers
    assert by_options.addresses == ("10.0.0.8:5814", "10.0.0.7:7")
    with (tmp_path / "profile.yaml").open("a") as file:
        file.write("apls: {locator: {host: 10.0.0.9, port: null}}\n")
    found = settings(tmp_path, named, sn_ip="127.0.0.1")
    assert found.license_servers.addresses == ("10.0.0.9:5814", "10.0.0.7:7")
    assert found.contact.license_servers.variables == {
        "SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_IP": "10.0.0.9",
        "SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_PORT": "5814",
        "SWARM_LICENSE_AUTOPASSJ_SERVER_SECONDARY_IP": "10.0.0.7",
        "SWARM_LICENSE_AUTOPASSJ_SERVER_SECONDARY_PORT": "7",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "mandatory parameter --usr-dir not specified"),
        (["--usr-dir", "{0}/none"], "--usr-dir: {0}/none: bad path"),
        (["--usr-dir", "{0}"], "mandatory parameter --profile-file-name not specified"),
        (["--usr-dir", "{0}", "--profile-file-name", "x"], "--profile-file-name: x: bad profile file"),
        (
            ["--usr-dir", "{0}", "--profile-file-name", "profile.yaml"],
            "neither --sn-ip nor --sn-api-service is specified",
        ),
        (
            [
                "--usr-dir",
                "{0}",
                "--profile-file-name",
                "profile.yaml",
                "--sn-ip",
                "127.0.0.1",
                "--policy-file",
                "p.yaml",
            ],
            "--policy-file: {0}/p.yaml: there is no such file",
        ),
        (["--usr-dir", "{0}", "--profile-file-name", "bad.yaml", "--sn-ip", "sn1"], "{0}/bad.yaml:1:1: "),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, options: list[str], message: str) -> None:
    identity = make_workspace(tmp_path / "cert", ["SWOP-1"])["SWOP-1"]
    write(tmp_path)
    (tmp_path / "bad.yaml").write_text("[]")
    words = [word for option, value in identity_options(identity).items() for word in (f"--{option}", str(value))]
    data = ["--data-dir", str(tmp_path / "data")]
    done = CliRunner().invoke(app, ["swop", *words, *data, *(word.format(tmp_path) for word in options)])
    assert done.exit_code == 1
    assert f"swarm swop: {message.format(tmp_path)}" in done.output


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ((), "the profile says `witness: true`, and a witness is an SN with a certificate of its own: make one"),
        (("SWOP-1",), "is for the role SWOP; needed here: SN"),
        (("SN-9",), "sn-9-cert.pem"),
    ],
)
def test_a_witness_needs_the_certificate_of_an_sn(tmp_path: Path, named: tuple[str, ...], message: str) -> None:
    identities = make_workspace(tmp_path / "cert", ["SWOP-1"])
    write(tmp_path)
    with (tmp_path / "profile.yaml").open("a") as profile:
        profile.write("witness: true\n")
    options = {"usr-dir": tmp_path, "profile-file-name": "profile.yaml", "data-dir": tmp_path / "data"}
    options |= {"sn-ip": "127.0.0.1", **identity_options(identities["SWOP-1"])}
    for name in named:
        options |= {f"witness-{kind}": tmp_path / "cert" / f"{name.lower()}-{kind}.pem" for kind in ("cert", "key")}
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    done = CliRunner().invoke(app, ["swop", *words])
    assert done.exit_code == 1
    assert message in done.output
