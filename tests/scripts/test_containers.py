"""What the scripts ask a container runtime for."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import swarmlearning
import swarmscripts
from scripts.conftest import FakeRuntime, Run, one_created, options_of
from swarmscripts import sl, sn, swci, swop

USER = f"{os.getuid()}:{os.getgid()}"


def test_images_have_the_version_of_the_product() -> None:
    assert swarmlearning.__version__ == swarmscripts.VERSION


@pytest.mark.parametrize(
    ("line", "environment", "published"),
    [
        ("--host-ip h --sentinel", ["THIS_NODE_IP=h", "SN_I_AM_SENTINEL=1"], []),
        (
            "--host-ip=h --sentinel-ip s --sentinel-api-port 1",
            ["THIS_NODE_IP=h", "SENTINEL_NODE_IP=s", "SENTINEL_API_SERVER_PORT=1"],
            [],
        ),
        (
            "--host-ip h --sentinel=1 --sn-api-port 16304 --sn-p2p-port 16303",
            ["THIS_NODE_IP=h", "SN_I_AM_SENTINEL=1", "SN_API_SERVER_PORT=16304", "SN_ETH_PORT_EXT=16303"],
            ["16304:16304", "16303:30303"],
        ),
        (
            "--sn-api-service api.sn --sn-p2p-service p2p.sn:9 --sentinel-api-service api.sn1:443",
            ["SENTINEL_API_SERVICE=api.sn1:443", "SN_API_SERVICE=api.sn", "SN_ETH_P2P_SERVICE=p2p.sn:9"],
            ["30304:30304", "9:30303"],
        ),
        (
            "--host-ip h --sentinel --sn-relay-port 30308",
            ["THIS_NODE_IP=h", "SN_I_AM_SENTINEL=1", "SN_RELAY_PORT=30308"],
            ["30308:30308"],
        ),
        (
            "--host-ip h --sentinel --sn-relay-port 30308 --sn-relay-service relay.sn:444",
            ["THIS_NODE_IP=h", "SN_I_AM_SENTINEL=1", "SN_RELAY_PORT=30308", "SN_RELAY_SERVICE=relay.sn:444"],
            ["444:30308"],
        ),
        (
            "--host-ip h --sentinel --sn-join-port 30307 --sn-join-service join.sn:445",
            ["THIS_NODE_IP=h", "SN_I_AM_SENTINEL=1", "SN_JOIN_PORT=30307", "SN_JOIN_SERVICE=join.sn:445"],
            ["445:30307"],
        ),
    ],
)
def test_run_sn(docker: FakeRuntime, line: str, environment: list[str], published: list[str]) -> None:
    created = one_created(docker, sn.run, line)

    assert options_of(created, "env") == environment
    assert options_of(created, "publish") == published
    assert created[-1] == f"swarmlearning/sn:{swarmlearning.__version__}"
    assert options_of(created, "user") == [USER]


@pytest.mark.parametrize(
    ("run", "line", "message"),
    [
        (sn.run, "--sentinel", "run-sn: mandatory parameter --host-ip not specified"),
        (sn.run, "--sentinel --sn-api-service a", "run-sn: mandatory parameter --host-ip not specified"),
        (sn.run, "--host-ip h", "run-sn: either --sentinel or --sentinel-ip must be specified"),
        (sn.run, "--host-ip h --sentinel=0", "run-sn: either --sentinel or --sentinel-ip must be specified"),
        (sn.run, "--host-ip", "run-sn: --host-ip: missing argument"),
        (sn.run, "--host-ip h --sentinel --key nowhere", "run-sn: nowhere: bad file"),
        (sn.run, "--host-ip h --sentinel --capath nowhere", "run-sn: nowhere: bad directory"),
        (sn.run, "--host-ip h --sentinel -v no/where:/a", "run-sn: no/where:/a: bad mount"),
        (sn.run, "--host-ip h --sentinel --socket-path x", "run-sn: x: bad socket path"),
        (sn.run, "--host-ip h --sentinel -d --attach stdin", "run-sn: --attach: conflicts with --detach"),
        (
            sn.run,
            "--host-ip h --sentinel --sn-relay-service r",
            "run-sn: --sn-relay-service: --sn-relay-port is needed too",
        ),
        (
            sn.run,
            "--host-ip h --sentinel --sn-join-service j",
            "run-sn: --sn-join-service: --sn-join-port is needed too",
        ),
        (sl.run, "--host-ip h --sn-ip s --privacy-policy nowhere", "run-sl: nowhere: bad file"),
        (sl.run, "--sn-ip s --relay=false", "run-sl: mandatory parameter --host-ip not specified"),
        (sl.run, "--sn-ip s", "run-sl: mandatory parameter --host-ip not specified"),
        (sl.run, "--host-ip h --sn-ip s --ml-image i --ml-foo", "Error: --ml-foo is an unsupported option."),
        (sl.run, "--host-ip h --sn-ip s --ml-e A=B", "run-sl: sidecar ml: mandatory parameter --image not specified"),
        (sl.run, "--host-ip h", "run-sl: no SN container runs on this host: name an SN with"),
        (swop.run, "--usr-dir .", "run-swop: mandatory parameter --profile-file-name not specified"),
        (swop.run, "--profile-file-name p", "run-swop: mandatory parameter --usr-dir not specified"),
        (swop.run, "--usr-dir nowhere --profile-file-name p", "run-swop: --usr-dir: nowhere: bad path"),
        (swop.run, "--usr-dir . --profile-file-name no", "run-swop: --profile-file-name: no: bad profile file"),
        (swci.run, "--usr-dir nowhere", "run-swci: --usr-dir: nowhere: bad path"),
        (swci.run, "--usr-dir . --init-script-name no", "run-swci: --init-script-name: no: bad file"),
    ],
)
@pytest.mark.usefixtures("docker")
def test_what_is_wrong_is_named(run: Run, line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 1
    assert capsys.readouterr().err.startswith(message)


def test_identity_is_mounted_where_it_lies(
    docker: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capath").mkdir()
    (tmp_path / "cert.pem").touch()
    (tmp_path / "key.pem").touch()
    (tmp_path / "passphrase").touch()
    files = "--capath capath --cert ./cert.pem --key key.pem --key-passphrase-file passphrase"

    created = one_created(docker, sn.run, f"--host-ip h --sentinel {files} --apls-ip license")

    assert options_of(created, "env")[:5] == [
        f"SWARM_ID_CAPATH={tmp_path}/capath",
        f"SWARM_ID_CERT={tmp_path}/cert.pem",
        f"SWARM_ID_KEY={tmp_path}/key.pem",
        f"SWARM_ID_KEY_PASSPHRASE_FILE={tmp_path}/passphrase",
        "SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_IP=license",
    ]
    assert options_of(created, "volume") == [
        f"{tmp_path}/{name}:{tmp_path}/{name}:ro" for name in ("capath", "cert.pem", "key.pem", "passphrase")
    ]


def test_every_option_of_the_runtime_is_handed_on(docker: FakeRuntime, tmp_path: Path) -> None:
    line = (
        f"--host-ip h --sentinel --name sn1 --network net --rm -e A=B -p 1:2 -v {tmp_path}:/a:ro -v vol:/b --memory=2g "
        "--label x --no-healthcheck=false --user 7 word --unknown --cmd"
    )

    created = one_created_with(docker, sn.run, [*line.split(), "one 'two three'"])

    assert created[created.index("--name") :] == [
        *("--name", "sn1", "--hostname", "sn1", "--user", "7", "--interactive=true", "--network", "net", "--rm=true"),
        *("--publish", "1:2", "--memory", "2g", "--label", "x", "--no-healthcheck=false"),
        *(f"swarmlearning/sn:{swarmlearning.__version__}", "one", "two three", "word", "--unknown"),
    ]
    assert options_of(created, "volume") == [f"{tmp_path}:/a:ro", "vol:/b"]
    assert options_of(created, "env")[-1] == "A=B"


def one_created_with(docker: FakeRuntime, run: Run, words: list[str]) -> list[str]:
    assert run([*words, "-d"]) == 0
    (created,) = docker.created
    return created


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ("--image other/sn:9", "other/sn:9"),
        ("--image-name other/sn", f"other/sn:{swarmlearning.__version__}"),
        ("--image-tag 9", "swarmlearning/sn:9"),
    ],
)
def test_another_image(docker: FakeRuntime, options: str, image: str) -> None:
    assert one_created(docker, sn.run, f"--host-ip h --sentinel {options}")[-1] == image


def test_a_container_is_created_informed_and_started(docker: FakeRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    one_created(docker, sn.run, "--host-ip h --sentinel")

    assert [call[:2] for call in docker.calls[1:]] == [
        ["container", command] for command in ("create", "inspect", "cp", "start")
    ]
    assert docker.calls[-1] == ["container", "start", "id-1"]
    assert docker.calls[-2][3] == "id-1:/tmp/container_info_file"
    assert docker.information == f"id-1\nswarmlearning/sn:{swarmlearning.__version__}\nsha256:1234\n"
    assert capsys.readouterr().out == "id-1\n"


def test_the_last_container_is_attached_from_its_start(docker: FakeRuntime) -> None:
    assert sl.run(["--host-ip", "h", "--sn-ip", "s", "-d", "--ml-image", "image"]) == 0

    assert docker.calls[-1] == ["container", "start", "--attach", "--interactive", "id-2"]


def test_the_first_container_that_is_not_detached_is_shown(docker: FakeRuntime) -> None:
    assert sl.run(["--host-ip", "h", "--sn-ip", "s", "--ml-image", "image"]) == 3

    assert docker.calls[-2:] == [["container", "logs", "--follow", "id-1"], ["container", "wait", "id-1"]]


def test_run_sl_starts_the_training_beside_it(docker: FakeRuntime, tmp_path: Path) -> None:
    line = (
        f"-d --name=sl1 --host-ip h --sn-ip s --sn-api-port 1 --sl-fs-port 16000 --ml-image user --ml-name ml1 "
        f"--ml-w /m --ml-entrypoint python3 --ml-v {tmp_path}:/m --ml-e MAX_EPOCHS=2 --ml-gpus all --ml-d --ml-cmd"
    )

    assert sl.run([*line.split(), "train.py --fast"]) == 0

    node, training = docker.created
    pipes = ["SL_REQUEST_CHANNEL=/tmp/channel/request.channel", "SL_RESPONSE_CHANNEL=/tmp/channel/response.channel"]
    assert options_of(node, "env") == [
        *("THIS_NODE_IP=h", "SN_NODE_IP=s", "SN_API_SERVER_PORT=1", "SL_FS_PORT=16000"),
        *("SWARM_DATA_DIR=/tmp/channel/node", "SL_CHANNEL_DIR=/tmp/channel/pair", "SL_ML_GROUP=58000"),
        *pipes,
    ]
    assert options_of(node, "volume") == ["/tmp/channel", "/tmp/hpe-swarm"]
    assert options_of(node, "publish") == ["16000:30305"]
    assert options_of(training, "env") == [
        *(*pipes, "SWARM_CHANNEL=/tmp/channel/pair/ml.sock", "SWARM_START_SECONDS=600", "MAX_EPOCHS=2")
    ]
    assert options_of(training, "volumes-from") == ["id-1"]
    assert options_of(training, "user") == [USER]
    assert options_of(training, "hostname") == ["ml1"]
    assert options_of(node, "group-add") == options_of(training, "group-add") != []
    assert [options_of(training, name) for name in ("workdir", "entrypoint", "gpus")] == [["/m"], ["python3"], ["all"]]
    assert training[-3:] == ["user", "train.py", "--fast"]


@pytest.mark.parametrize(
    ("user", "expected"), [("root", "root:0"), ("0", "0:0"), ("nobody-here", "nobody-here"), ("5:6", "5:6")]
)
def test_the_training_runs_with_its_users_group(docker: FakeRuntime, user: str, expected: str) -> None:
    assert sl.run(f"-d --host-ip h --sn-ip s --ml-image i --ml-d --ml-user {user}".split()) == 0

    assert options_of(docker.created[1], "user") == [expected]


@pytest.mark.parametrize(("protected", "folder"), [("1", "/tmp/channel"), ("2", "/tmp/channel/pair")])
def test_pipes_lie_where_the_training_of_another_user_may_write_to_them(
    docker: FakeRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protected: str, folder: str
) -> None:
    (tmp_path / "protected_fifos").write_text(f"{protected}\n")
    monkeypatch.setattr(sl, "PROTECTED_FIFOS", tmp_path / "protected_fifos")
    assert sl.run(["-d", "--host-ip", "h", "--sn-ip", "s", "--ml-image", "i", "--ml-d", "--ml-user", "7"]) == 0
    for container in docker.created:
        pipes = [each for each in options_of(container, "env") if "CHANNEL=" in each and each.startswith("SL_RE")]
        assert pipes == [f"SL_{name.upper()}_CHANNEL={folder}/{name}.channel" for name in ("request", "response")]


@pytest.mark.parametrize(("option", "variable"), [("--relay", "SL_RELAY=true"), ("--relay=false", "SL_RELAY=false")])
def test_run_sl_tells_an_sl_whether_to_use_a_relay(docker: FakeRuntime, option: str, variable: str) -> None:
    address = "--host-ip h " if option != "--relay" else ""  # others come through the SN

    created = one_created(docker, sl.run, f"{address}--sn-ip s {option}")

    assert variable in options_of(created, "env")
    assert options_of(created, "publish") == []


def test_run_sl_tells_an_sl_what_models_may_use_of_the_link(docker: FakeRuntime) -> None:
    created = one_created(docker, sl.run, "--host-ip h --sn-ip s --max-mbit 10/50")
    assert "SL_MAX_MBIT=10/50" in options_of(created, "env")


def test_run_sl_mounts_the_folder_of_a_privacy_policy_with_its_record(docker: FakeRuntime, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").touch()

    created = one_created(docker, sl.run, f"--host-ip h --sn-ip s --privacy-policy {tmp_path}/policy.yaml")

    assert f"SL_PRIVACY_POLICY={tmp_path}/policy.yaml" in options_of(created, "env")
    assert f"{tmp_path}:{tmp_path}" in options_of(created, "volume")


def test_run_sl_finds_the_sn_of_its_host(docker: FakeRuntime) -> None:
    docker.list_running("sn-container")

    created = one_created(docker, sl.run, "--host-ip h")

    assert "SN_NODE_IP=172.17.0.5" in options_of(created, "env")
    assert ["container", "exec", "sn-container", "hostname", "-i"] in docker.calls


def test_run_sl_uses_the_sn_container_named(docker: FakeRuntime) -> None:
    one_created(docker, sl.run, "--host-ip h --sn-docker-name sn1")

    assert ["container", "exec", "sn1", "hostname", "-i"] in docker.calls


def test_nothing_is_left_where_the_training_cannot_be_started(
    docker: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sl.run(["-d", "--host-ip", "h", "--sn-ip", "s", "--ml-image", "refused-image"]) == 1

    assert docker.calls[-1] == ["container", "rm", "--force", "id-1"]
    assert capsys.readouterr().err == "run-sl: docker container create: no such image\n"


def test_other_sidecars(docker: FakeRuntime) -> None:
    line = "-d --host-ip h --sentinel --sidecar log --log-image logger --log-pid-main --log-volumes-from-main --log-d"

    assert sn.run(line.split()) == 0

    assert docker.created[1] == ["--interactive=true", "--pid", "container:id-1", "--volumes-from", "id-1", "logger"]


def test_run_swop(install: Callable[[str], FakeRuntime], tmp_path: Path, unix_socket: Path) -> None:
    podman = install("podman")
    (tmp_path / "profile.yaml").touch()

    created = one_created(
        podman,
        swop.run,
        f"--usr-dir {tmp_path} --profile-file-name profile.yaml --sn-ip s --docker-socket-file {unix_socket} "
        "--docker-group-id 77 -e SWOP_KEEP_CONTAINERS=True",
    )

    assert options_of(created, "env") == [
        *("SWOP_PROFILE=profile.yaml", f"SWOP_UID={os.getuid()}", f"SWOP_GID={os.getgid()}", "SWOP_DOCKER_GID=77"),
        *("SN_NODE_IP=s", "SWOP_KEEP_CONTAINERS=True"),
    ]
    assert options_of(created, "volume") == [f"{tmp_path}:/platform/swarm/usr", f"{unix_socket}:/var/run/docker.sock"]
    assert options_of(created, "group-add") == ["58000", "77"]


def test_run_swop_gives_its_witness_certificate_key_and_port(
    docker: FakeRuntime, tmp_path: Path, unix_socket: Path
) -> None:
    for name in ("p", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    files = f"--witness-cert {tmp_path}/cert.pem --witness-key {tmp_path}/key.pem"

    created = one_created(
        docker,
        swop.run,
        f"--usr-dir {tmp_path} --profile-file-name p --host-ip h --docker-socket-file {unix_socket} {files} "
        "--witness-p2p-port 31000",
    )

    assert {"THIS_NODE_IP=h", "SWOP_WITNESS_P2P_PORT=31000"} <= set(options_of(created, "env"))
    for name in ("cert", "key"):
        assert f"SWOP_WITNESS_{name.upper()}={tmp_path}/{name}.pem" in options_of(created, "env")
        assert f"{tmp_path}/{name}.pem:{tmp_path}/{name}.pem:ro" in options_of(created, "volume")
    assert options_of(created, "publish") == ["31000:31000"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--witness-cert p --docker-socket-file SOCKET",
            "--witness-cert and --witness-key: name both, the certificate and its private key",
        ),
        ("--docker-socket-file SOCKET --witness-cert no --witness-key p --host-ip h", "no: bad file"),
        (
            "--docker-socket-file SOCKET --witness-p2p-port 1",
            "mandatory parameter --host-ip not specified: the address at which SNs reach the witness",
        ),
        ("--docker-socket-file nowhere", "--docker-socket-file: nowhere: bad docker socket file"),
        ("--docker-socket-file SOCKET --docker-group-id x", "--docker-group-id: x: bad docker group-id"),
        ("--swop-uid x", "--swop-uid: x: bad user id"),
    ],
)
@pytest.mark.usefixtures("docker")
def test_what_run_swop_refuses(
    options: str, message: str, tmp_path: Path, unix_socket: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p").touch()
    line = f"--usr-dir {tmp_path} --profile-file-name p {options.replace('SOCKET', str(unix_socket))}"

    assert swop.run(line.split()) == 1
    assert capsys.readouterr().err == f"run-swop: {message}\n"


def test_run_swci(docker: FakeRuntime, tmp_path: Path) -> None:
    (tmp_path / "swci-init").touch()

    created = one_created(docker, swci.run, f"--usr-dir {tmp_path} --init-script-name swci-init -e SWCI_MODE=WEB")

    assert options_of(created, "env") == ["SWCI_STARTUP_SCRIPT=swci-init", "SWCI_MODE=WEB"]
    assert options_of(created, "volume") == [f"{tmp_path}:/platform/swarm/usr"]
    assert "--rm=true" in created


def test_run_swci_keeps_its_container_on_request(docker: FakeRuntime) -> None:
    created = one_created(docker, swci.run, "--rm=false")

    assert "--rm=false" in created
    assert "--rm=true" not in created
