"""What `run-slm-ui` asks a container runtime for."""

from collections.abc import Callable
from pathlib import Path

import pytest

import swarmlearning
from scripts.conftest import FakeRuntime, one_created, options_of
from swarmscripts import slmui


@pytest.mark.parametrize(
    ("line", "published"),
    [
        ("", ["443:30302", "80:30380"]),
        ("--https-port 8443 --http-port 0", ["8443:30302"]),
        ("--host 10.0.0.1 --http-port 8080", ["10.0.0.1:443:30302", "10.0.0.1:8080:30380"]),
    ],
)
def test_run_slm_ui(
    docker: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, published: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cert.pem").touch()
    (tmp_path / "admin.txt").touch()

    created = one_created(
        docker, slmui.run, f"--cert cert.pem --admin-password-file admin.txt --sn-ip s -nw n --apls-ip l {line}"
    )

    assert options_of(created, "publish") == published
    inside = ["SLM_UI_HTTP_PORT=30380"] if len(published) > 1 else []
    assert options_of(created, "env") == [
        f"SWARM_ID_CERT={tmp_path}/cert.pem",
        "SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_IP=l",
        f"SLM_UI_PUBLIC_PORT={published[0].removesuffix(':30302').rpartition(':')[2]}",
        *inside,
        f"SLM_UI_ADMIN_PASSWORD_FILE={tmp_path}/admin.txt",
        "SN_NODE_IP=s",
        "SWARM_LOG_DIR=/platform/swarm/logs",
    ]
    assert options_of(created, "volume") == [
        f"{tmp_path}/cert.pem:{tmp_path}/cert.pem:ro",
        f"{tmp_path}/admin.txt:{tmp_path}/admin.txt:ro",
        f"{tmp_path}/logs:/platform/swarm/logs",
        "slm-ui:/platform/swarm/SMLNODE",
    ]
    assert options_of(created, "network") == ["n"]
    assert (tmp_path / "logs").is_dir()
    assert created[-1] == f"swarmlearning/slm-ui:{swarmlearning.__version__}"


def test_podman_as_a_user_opens_no_low_ports(
    install: Callable[[str], FakeRuntime],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install("podman")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (tmp_path / "first").write_text("1024\n")
    monkeypatch.setattr(slmui, "UNPRIVILEGED", tmp_path / "first")
    (tmp_path / "cert.pem").touch()
    assert slmui.run(["--cert", "cert.pem", "-d"]) == 1
    assert capsys.readouterr().err == (
        "run-slm-ui: --https-port: 443: podman as a user opens no ports below 1024: name others, such as "
        "--https-port 8443 --http-port 8080\n"
    )
    assert slmui.run(["--cert", "cert.pem", "-d", "--https-port", "8443", "--http-port", "0"]) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "run-slm-ui: mandatory parameter --cert or --https-cert not specified"),
        ("-pu x", "run-slm-ui: --https-cert and --https-key belong together"),
        ("-pu x -pr y", "run-slm-ui: x: bad file"),
        ("--https-port 0", "run-slm-ui: --https-port: 0: bad port"),
        ("--http-port 70000", "run-slm-ui: --http-port: 70000: bad port"),
        ("-pw x", "run-slm-ui: -pw: has no effect: there is no database beside it"),
    ],
)
@pytest.mark.usefixtures("docker")
def test_what_is_wrong_is_named(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert slmui.run(line.split()) == 1
    assert capsys.readouterr().err.startswith(message)
