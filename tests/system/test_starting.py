"""A node that cannot start ends with one clear message and exit code 1, and affects nobody else."""

import sys
from pathlib import Path

import pytest

from support.certs import authority_in, expired, make_workspace, stranger
from support.ports import fixed_port
from support.processes import Process
from support.swarm import Swarm, identity_options
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity

Options = dict[str, str | Path]


@pytest.fixture
def running(swarm: Swarm) -> Swarm:
    """A swarm whose SN is up, and still answers at the end."""
    swarm.start_sn()
    return swarm


def test_no_node_starts_without_an_identity_and_the_error_explains_how_to_make_one(swarm: Swarm) -> None:
    options: Options = {"host-ip": "127.0.0.1", "data-dir": swarm.directory / "none"}
    nodes = {
        "swarm sn: ": swarm.processes.node("SN", "sn", options),
        "swarm sl: ": swarm.processes.node("SL", "sl", {**options, "sn-ip": "127.0.0.1"}),
    }
    for program, node in nodes.items():
        assert (
            node.complaint() == f"{program}No identity specified; missing: certificate, private key, CA certificates."
        )
        assert "swarm cert --out cert --node SN-1 --node SL-1" in node.output
    assert not (swarm.directory / "none").exists()


def test_a_certificate_that_has_expired_or_is_of_another_ca_or_role_is_refused_with_the_reason(
    running: Swarm, tmp_path: Path
) -> None:
    cert = tmp_path / "cert"
    capath = cert / "ca" / "capath"
    old, foreign = expired(cert, "SL-8"), stranger(tmp_path, "SL-1")
    cases: dict[str, Options] = {
        f"{old.cert_path}: certificate 'CN=SL-8,OU=Swarm-Learning' expired at": identity_options(old),
        "has a bad signature: it is not from the CA": {**identity_options(foreign), "capath": capath},
        "is for the role SN; needed here: SL": identity_options(running.identities["SN-1"]),
    }
    sls = [
        running.processes.node(f"SL-{index}", "sl", running.sl_options(index, "SL-1") | case)
        for index, case in enumerate(cases.values())
    ]
    for expected, process in zip(cases, sls, strict=True):
        assert expected in process.complaint()
    assert "is for the role SL; needed here: SN" in start_sn(running, running.identities["SL-1"]).complaint()
    assert [node["type"] for node in running.status()["nodes"]] == ["SN"]


def test_an_sl_that_does_not_trust_the_sn_reports_that_at_once(running: Swarm, tmp_path: Path) -> None:
    foreign = make_workspace(tmp_path / "elsewhere", ["SL-1"], ca_name="CA-9")["SL-1"]
    sl = running.processes.node("SL-1", "sl", running.sl_options(1) | identity_options(foreign))
    complaint = sl.complaint()
    assert f"Unable to contact API-Server: SN {running.address} and this node do not trust each other" in complaint
    assert "Check on both sides that certificates are valid" in complaint
    assert "Retrying" not in sl.output
    running.status()


def impatient(swarm: Swarm, options: Options) -> Process:
    """`swarm sl` with short pauses between its attempts."""
    program = (
        "import swarmlearning.sl.node as node; node.LONGEST_PAUSE = node.FIRST_PAUSE = 0.01; "
        "from swarmlearning.cli.main import main; main()"
    )
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    return swarm.processes.start("SL", sys.executable, "-c", program, "sl", *words)


def test_an_sl_that_the_sn_does_not_trust_is_told_where_to_look(running: Swarm, tmp_path: Path) -> None:
    foreign = make_workspace(tmp_path / "elsewhere", ["SL-1"], ca_name="CA-9")["SL-1"]
    both = tmp_path / "both.pem"
    authorities = [authority_in(tmp_path / "cert"), authority_in(tmp_path / "elsewhere", "CA-9")]
    both.write_text("".join(to_pem(authority.certificate) for authority in authorities))
    options = running.sl_options(1) | {"cert": foreign.cert_path, "key": foreign.key_path, "cacert": both}
    del options["capath"]
    sl = impatient(running, options)
    assert f"Unable to contact API-Server: SN {running.address} " in sl.complaint()
    assert "that it trusts the CA of this node's certificate (its log has lines on failed TLS handshakes)" in sl.output
    assert "TLS handshake with 127.0.0.1:" in running.sn.output
    assert [node["type"] for node in running.status()["nodes"]] == ["SN"]


def test_an_sl_tries_an_unreachable_sn_twelve_times(swarm: Swarm, tmp_path: Path) -> None:
    port = fixed_port()
    sl = impatient(
        swarm,
        {
            "host-ip": "127.0.0.1",
            "sn-ip": "127.0.0.1",
            "sn-api-port": str(port),
            "data-dir": tmp_path / "sl",
            **identity_options(swarm.identities["SL-1"]),
        },
    )
    assert f"swarm sl: Unable to contact API-Server: SN 127.0.0.1:{port} cannot be reached: " in sl.complaint()
    assert sl.output.count("Failed to connect to the API server. Retrying ") == 11
    assert f"Retrying 11 of 12: SN 127.0.0.1:{port} cannot be reached: Connection refused" in sl.output
    assert "Check that the SN runs, that --sn-ip and --sn-api-port are its address" in sl.output


def test_a_server_that_is_no_sn_is_named(running: Swarm) -> None:
    sl = running.start_sl(1)
    port = sl.ready["fs"].rpartition(":")[2]
    assert f"what answers at 127.0.0.1:{port} is not an SN" in running.start_sl(2, sn_api_port=port).complaint()
    assert sl.running


def test_a_port_in_use_is_named_by_a_node_that_starts(running: Swarm) -> None:
    port = running.address.rpartition(":")[2]
    refusal = f"cannot listen on 127.0.0.1:{port}: the port is in use; stop the process that holds it"
    sl, other = running.start_sl(1, sl_fs_port=port), start_sn(running, sn_api_port=port)
    assert refusal in sl.complaint()
    assert refusal in other.complaint()
    running.status()


def test_an_address_to_listen_on_that_is_not_of_this_machine_is_named(running: Swarm) -> None:
    complaint = start_sn(running, bind_ip="192.0.2.1").complaint()
    assert "cannot listen on 192.0.2.1:0: Cannot assign requested address" in complaint
    assert "choose an address of this machine" in complaint


def test_missing_mandatory_parameters_are_named(swarm: Swarm) -> None:
    nodes = swarm.processes
    data: Options = {"data-dir": swarm.directory / "none"}
    sn = data | identity_options(swarm.identities["SN-1"])
    sl = data | identity_options(swarm.identities["SL-1"])
    cases = {
        "swarm sn: mandatory parameter --host-ip not specified": nodes.node("SN", "sn", sn),
        "swarm sl: mandatory parameter --host-ip not specified": nodes.node("SL", "sl", {**sl, "sn-ip": "here"}),
        "swarm sl: mandatory parameter --sn-ip not specified": nodes.node("SL-2", "sl", {**sl, "host-ip": "here"}),
    }
    for expected, node in cases.items():
        assert node.complaint().startswith(expected)


def test_a_second_node_in_the_same_data_directory_is_refused(running: Swarm) -> None:
    first = running.start_sl(1)
    assert first.ready
    second = running.start_sl(2, identity="SL-1", data_dir=running.directory / "sl-1")
    for complaint in (second.complaint(), start_sn(running, data_dir="sn").complaint()):
        assert "another process of this node is running; stop it, or give this one another --data-dir" in complaint
    assert first.running


def test_a_node_of_another_network_is_refused_with_both_names(running: Swarm, tmp_path: Path) -> None:
    """The same CA, the same machine, another network."""
    sl = running.start_sl(1)
    assert sl.ready
    sl.kill()
    other = Swarm(running.processes, tmp_path, running.identities, name="banks")
    other.start_sn(data_dir=tmp_path / "banks-sn")
    complaint = other.start_sl(1).complaint()
    assert f"belongs to network 'swarm', {running.chain().network_id}, but found" in complaint
    assert str(tmp_path / "sl-1" / "node.json") in complaint
    assert "but found network 'banks', " in complaint
    assert "connect to an SN of its own network, or use another --data-dir" in complaint
    assert [node["type"] for node in other.status()["nodes"]] == ["SN"]


def test_a_training_command_that_cannot_be_started_is_named(running: Swarm) -> None:
    options = running.sl_options(1)
    sl = running.processes.node("SL-1", "sl", options, ml=["no-such-program", "train.py"])
    assert "cannot start the training command 'no-such-program': No such file or directory" in sl.complaint()


def start_sn(swarm: Swarm, identity: Identity | None = None, data_dir: str = "another", **changes: str) -> Process:
    """Starts an SN beside the one of the swarm."""
    options: Options = {
        "host-ip": "127.0.0.1",
        "sn-api-port": "0",
        "ordering": "local",
        "data-dir": swarm.directory / data_dir,
        **identity_options(identity or swarm.identities["SN-1"]),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return swarm.processes.node("another-SN", "sn", options, ["--sentinel"])
