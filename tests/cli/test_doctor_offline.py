"""`swarm doctor` on the host of a node that does not start: each fault is named, first, with what to do."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.certs import expired, make_workspace, not_yet_valid, stranger, with_key
from support.swarm import identity_options
from swarmlearning.cli.doctor.commandline import read_environment, read_words
from swarmlearning.cli.doctor.lines import SIGNS
from swarmlearning.cli.doctor.offline import examine_host
from swarmlearning.cli.doctor.place import examine_place
from swarmlearning.cli.doctor.show import as_data, shown
from swarmlearning.cli.options import Credentials
from swarmlearning.doctor.findings import RANK, Report
from swarmlearning.doctor.structures import read_structure
from swarmlearning.errors import UserError
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.tensors.structure import Structure, structure_text

Options = dict[str, str | Path]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SWARM_", "SL_", "SN_")):
            monkeypatch.delenv(name)


@pytest.fixture
def sl(tmp_path: Path) -> Options:
    """The options of an SL that would start."""
    return {
        "host-ip": "127.0.0.1",
        "sn-ip": "127.0.0.1",
        "sl-fs-port": "0",
        "data-dir": tmp_path / "sl",
        **identity_options(make_workspace(tmp_path / "cert", ["SL-1", "SN-1"])["SL-1"]),
    }


def examined(kind: str, options: Options, *flags: str) -> Report:
    report = Report()
    words = [str(word) for option, value in options.items() for word in (f"--{option}", value)]
    node = read_words(["swarm", kind, *words, *flags], report)
    examine_host(Credentials(), None, node, report)
    return report


def first(report: Report) -> str:
    return report.ordered[0].code if report.wrong else ""


def test_nothing_is_found_in_a_node_that_would_start(sl: Options) -> None:
    report = examined("sl", sl)
    assert report.wrong == []
    text = "\n".join(shown(report, 0.5))
    assert text.startswith("Nothing wrong found.")
    assert "no fault" in text
    assert as_data(report, 0.5)["healthy"]


def _expired(path: Path) -> Options:
    return identity_options(expired(path / "cert", "SL-7"))


def _early(path: Path) -> Options:
    return identity_options(not_yet_valid(path / "cert", "SL-7"))


def _foreign(path: Path) -> Options:
    return {**identity_options(stranger(path, "SL-1")), "capath": path / "cert" / "ca" / "capath"}


def _unknown_ca(path: Path) -> Options:
    other = make_workspace(path / "other", ["SL-1"], ca_name="CA-9")["SL-1"]
    return {**identity_options(other), "capath": path / "cert" / "ca" / "capath"}


def _other_key(path: Path) -> Options:
    return {"key": path / "cert" / "sn-1-key.pem"}


def _role(path: Path) -> Options:
    return {name: path / "cert" / f"sn-1-{name}.pem" for name in ("cert", "key")}


def _no_key(path: Path) -> Options:
    (path / "empty.pem").write_text("nothing")
    return {"key": path / "empty.pem"}


def _no_certificate(path: Path) -> Options:
    return {"cert": path / "nowhere.pem"}


def _encrypted(path: Path) -> Options:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    identity = with_key(path / "cert", "SL-1", "ec")
    secret = BestAvailableEncryption(b"open sesame")
    identity.key_path.write_bytes(identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    return {}


def _wrong_passphrase(path: Path) -> Options:
    _encrypted(path)
    (path / "passphrase").write_text("open barley\n")
    return {"key-passphrase-file": path / "passphrase"}


def _file_in_place(path: Path) -> Options:
    (path / "sl").write_text("a file")
    return {}


def _damaged_record(path: Path) -> Options:
    (path / "sl").mkdir()
    (path / "sl" / "node.json").write_text("{")
    return {}


def _loopback_group(path: Path) -> Options:
    return {"host-ip": "0.0.0.0"}


def _bad_option(path: Path) -> Options:
    return {"sl-fs-prot": "1"}


def _from_the_future(path: Path) -> Options:
    with DataDirectory(path / "sl"):
        pass
    os.utime(path / "sl" / "node.json", (time.time() + 7200,) * 2)
    return identity_options(not_yet_valid(path / "cert", "SL-7"))


def _not_of_this_machine(path: Path) -> Options:
    return {"bind-ip": "192.0.2.1", "sl-fs-port": "30999"}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (_expired, "expired"),
        (_early, "not-yet-valid"),
        (_foreign, "wrong-ca"),
        (_unknown_ca, "wrong-ca"),
        (_other_key, "key-mismatch"),
        (_role, "wrong-role"),
        (_no_key, "key-file"),
        (_no_certificate, "certificate-file"),
        (_encrypted, "passphrase"),
        (_wrong_passphrase, "passphrase"),
        (_file_in_place, "not-writable"),
        (_damaged_record, "record-damaged"),
        (_loopback_group, "settings"),
        (_bad_option, "command-line"),
        (_from_the_future, "clock"),
        (_not_of_this_machine, "address-not-here"),
    ],
)
def test_each_fault_is_the_first_that_is_named(
    broken: Callable[[Path], Options], code: str, sl: Options, tmp_path: Path
) -> None:
    report = examined("sl", {**sl, **broken(tmp_path)})
    assert first(report) == code, report.wrong
    assert f"[{code}]" in next(shown(report, 0.1)) or f"[{code}]" in "\n".join(list(shown(report, 0.1))[:6])
    assert as_data(report, 0.1)["healthy"] is False


def test_a_ca_that_has_expired_is_named_and_not_the_certificate_below_it(tmp_path: Path, sl: Options) -> None:
    from swarmlearning.identity.ca import create_authority

    authority = create_authority("CA-2", 1)
    identity = make_workspace(tmp_path / "short", ["SL-5"], authority, "CA-2")["SL-5"]
    end = authority.certificate.not_valid_after_utc.timestamp()
    from swarmlearning.doctor.certificates import examine_files
    from swarmlearning.identity.files import IdentityFiles

    files = IdentityFiles(None, tmp_path / "short" / "ca" / "capath", identity.cert_path, identity.key_path)
    _, report = examine_files(files, "SL", int((end + 86400) * 1000))
    assert first(report) == "expired"
    assert "CA-2" in report.wrong[0].subject or report.wrong[0].subject.startswith("the certificate")


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_a_port_is_in_use_by_a_process_that_is_named(taken: int, sl: Options) -> None:
    report = examined("sl", {**sl, "sl-fs-port": str(taken)})
    assert first(report) == "port-taken"
    assert f"process {os.getpid()}" in report.wrong[0].text


def test_a_data_directory_in_use_names_the_process_that_has_it(sl: Options, tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "sl"):
        report = examined("sl", sl)
    assert first(report) == "in-use"
    assert f"process {os.getpid()}" in report.wrong[0].text


def test_a_folder_of_logs_that_cannot_be_written_to_is_named(sl: Options, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    report = examined("sl", {**sl, "log-dir": tmp_path / "logs" / "swarm"})
    assert first(report) == "not-writable"
    assert report.wrong[0].subject.endswith("logs/swarm")


def test_every_code_has_its_rank() -> None:
    assert len(set(RANK)) == len(RANK)
    assert {sign.code for sign in SIGNS} <= set(RANK)


def test_the_documentation_lists_all_codes_in_their_order() -> None:
    text = (
        (Path(__file__).parents[2] / "docs" / "doctor.md").read_text().partition("**Codes.**")[2].partition("\n\n")[0]
    )
    assert re.findall(r"`([a-z-]+)`", text) == list(RANK)


def test_the_structure_of_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    specs = [("a b", "F32", (2, 3)), ("steps", "I64", ()), ("ü", "BF16", (1,))]
    (tmp_path / "structure.txt").write_text(structure_text(specs), encoding="utf-8")
    assert read_structure(tmp_path) == Structure(tuple(sorted(specs)), {})


def test_an_environment_file_is_read_as_systemd_reads_it(tmp_path: Path) -> None:
    file, environ = tmp_path / "env", dict[str, str]()
    file.write_text("# comment\nSL_FS_PORT=30305\nexport SN_NODE_IP='10.0.0.1'\n\nSWARM_ID_CERT=\"a b.pem\"\n")
    read_environment(file, environ)
    assert environ == {"SL_FS_PORT": "30305", "SN_NODE_IP": "10.0.0.1", "SWARM_ID_CERT": "a b.pem"}
    file.write_text("SL_FS_PORT 30305\n")
    with pytest.raises(UserError, match="line 1"):
        read_environment(file, environ)


def test_a_chain_file_whose_bytes_have_changed_is_named(tmp_path: Path) -> None:
    from swarmlearning.ordering.local import open_chain_file

    with DataDirectory(tmp_path):
        pass
    with closing(open_chain_file(tmp_path / "chain.sqlite")) as chain:
        chain.execute("INSERT INTO blocks VALUES (0, 'not its hash', ?)", (b"{}",))
    report = Report()
    examine_place(tmp_path, report)
    assert first(report) == "chain-damaged"
    assert "block 0 has been altered" in report.wrong[0].text


def test_an_identity_that_is_not_there_is_named_with_how_to_make_one(tmp_path: Path) -> None:
    report = examined("sl", {"host-ip": "127.0.0.1", "sn-ip": "127.0.0.1", "data-dir": tmp_path / "sl"})
    assert first(report) == "no-identity"
    assert "swarm cert" in report.wrong[0].remedy


def test_a_key_that_this_user_may_not_read_is_named_and_no_other_identity_asked_for(
    sl: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("sl-1-key.pem"))
    report = examined("sl", sl)
    assert [each.code for each in report.wrong] == ["key-file"]
    assert "sl-1-key.pem' is not readable" in report.wrong[0].text
    assert report.wrong[0].remedy.startswith("give it to the node's user")
