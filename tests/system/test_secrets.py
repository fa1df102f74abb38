"""What a swarm at its most talkative says of its secrets: nothing, in no place where anybody could read it."""

import asyncio
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from support.canaries import forms_of_key, forms_of_text, leaks
from support.certs import make_workspace
from support.licenses import PLENTY, Issuer, Servers
from support.local_sn import fetch
from support.operating import Operator
from support.ports import fixed_port
from support.processes import COMMAND, Processes
from support.swarm import Swarm, assert_complete
from swarmlearning.cli.join import STILL_WAITING
from swarmlearning.identity.signing import unverified_payload
from swarmlearning.invitations.code import read_code
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.rules import RULES
from swarmlearning.ordering.local import read_chain_file

PASSPHRASE = "Canary-Passphrase-7f3a"
PASSWORD = "Canary/Proxy-91c4"
PROXY = {"https_proxy": "http://site:Canary%2FProxy-91c4@127.0.0.1:9", "no_proxy": "127.0.0.1"}
NODES = ("SN-1", "SL-1", "SWCI-1", "LICENSE-1")
DEBUG = ("--log-level", "DEBUG")


def ledger_of(chain_file: Path) -> str:
    """All that the blocks of a chain file say, decoded."""
    blocks = [RULES[RULES_VERSION].read(raw) for raw in read_chain_file(chain_file)]
    signed = [each for block in blocks for each in (block.signed_header, *(tx.raw for tx in block.transactions))]
    return "\n".join(unverified_payload(each).decode() for each in signed)


def test_no_secret_of_a_node_is_in_a_log_an_answer_the_ledger_or_a_file_of_its_data(
    processes: Processes, tmp_path: Path
) -> None:
    keys, issuer = tmp_path / "cert", Issuer(tmp_path / "licenses")
    swarm = Swarm(processes, tmp_path, make_workspace(keys, NODES))
    secrets = {"passphrase": forms_of_text(PASSPHRASE), "proxy": forms_of_text(PASSWORD)}
    for name, identity in swarm.identities.items():
        assert isinstance(identity.private_key, EllipticCurvePrivateKey)
        secrets[name] = forms_of_key(identity.private_key)
    secrets["issuer of licenses"] = forms_of_key(issuer.key)
    encrypted, passphrase = keys / "encrypted.pem", keys / "passphrase"
    encryption = BestAvailableEncryption(PASSPHRASE.encode())
    key = swarm.identities["SL-1"].private_key
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    passphrase.write_text(f"{PASSPHRASE}\n")

    issuer.issue(PLENTY)
    servers = Servers(processes, issuer, swarm.identities["LICENSE-1"])
    servers.start("primary", *DEBUG)
    swarm.start_sn("--sentinel", *DEBUG, *servers.flags[:4], "--sn-join-port", str(fixed_port()))
    variables = {**servers.variables("primary"), **PROXY}
    ml = ("--rounds", "1", "--min-peers", "1")
    sl = swarm.start_sl(1, *ml, environment=variables, log_level="DEBUG", key=encrypted, key_passphrase_file=passphrase)
    assert sl.ready
    answers = {"status": str(swarm.status())}
    _, _, answers["health"] = asyncio.run(fetch(swarm.address, swarm.identities["SL-1"], "/health"))
    answers["LOGS"] = Operator(swarm).does("logs", swarm.sn.ready["uid"], "--since", "1d")
    code = subprocess.run(
        Operator(swarm).command("invite", "--node", "SL-9"), capture_output=True, check=True, text=True
    )
    secrets["code"] = forms_of_text(code.stdout.strip()) | forms_of_text(code.stdout.strip().upper())
    secrets["key of the code"] = forms_of_key(Ed25519PrivateKey.from_private_bytes(read_code(code.stdout).key))
    joining = [*COMMAND, "join", "-", "--out", str(tmp_path / "joined"), "--wait", "0"]
    joined = subprocess.run(joining, input=code.stdout, capture_output=True, check=False, text=True)
    assert joined.returncode == STILL_WAITING, joined.stderr
    answers |= {"invite": code.stderr, "join": joined.stdout + joined.stderr}
    answers["invitations"] = Operator(swarm).does("invite", "list", "--json")
    assert_complete([sl])
    assert " through the proxy 127.0.0.1:9" in sl.output, "the proxy was read, and its log line has no password"
    answers["ledger"] = ledger_of(tmp_path / "sn" / "chain.sqlite")
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(keys)]
    assert any(path.name == "node.log" for path in written), "logs are among what is searched"
    texts = answers | {str(path): path.read_bytes().decode("latin-1") for path in written}
    assert {where: leaks(text, secrets) for where, text in texts.items() if leaks(text, secrets)} == {}


def test_a_secret_in_any_form_is_found(tmp_path: Path) -> None:
    """The search itself, which finds nothing above."""
    identity = make_workspace(tmp_path, ["SL-1"])["SL-1"]
    assert isinstance(identity.private_key, EllipticCurvePrivateKey)
    secrets = {"word": forms_of_text(PASSWORD), "key": forms_of_key(identity.private_key)}
    assert leaks(f"a log line: {identity.key_path.read_text()}", secrets) == ["key"]
    for text in (PASSWORD, PROXY["https_proxy"], repr(PASSWORD.encode()), PASSWORD.encode().hex().upper()):
        assert leaks(f"a log line: {text}.", secrets) == ["word"]
    number = identity.private_key.private_numbers().private_value
    for text in (str(number), f"{number:064x}", f"{number:064X}"):
        assert leaks(text, secrets) == ["key"]
    assert leaks(str(identity.certificate.subject), secrets) == []
