"""Private keys for SSH: what a key says of itself never costs more than some seconds."""

import base64
import re

import asyncssh
import pytest

from swarmlearning.ui.hosts import sshkeys
from swarmlearning.ui.hosts.logins import NONE, Login, LoginError, Secret
from swarmlearning.ui.hosts.sshkeys import LONGEST, MOST_BCRYPT, MOST_HASHES, opened

KEY = asyncssh.generate_private_key("ssh-ed25519")
PHRASE = "a passphrase"
BUNDLED = KEY.export_private_key("openssh", PHRASE, rounds=4, ignore_few_rounds=True).decode()


def login(key: str, passphrase: str = PHRASE) -> Login:
    return Login("swarm", key=Secret(key), passphrase=Secret(passphrase) if passphrase else NONE)


def with_rounds(rounds: int) -> str:
    """The key as OpenSSH has it, which says of itself that it was encrypted with so many rounds."""
    data = base64.b64decode("".join(BUNDLED.splitlines()[1:-1]))
    (at,) = [found.end() for found in re.finditer(b"\0\0\0\x18\0\0\0\x10.{16}", data, re.DOTALL)]
    changed = base64.b64encode(data[:at] + rounds.to_bytes(4) + data[at + 4 :]).decode()
    return BUNDLED.replace("".join(BUNDLED.splitlines(keepends=True)[1:-1]), f"{changed}\n")


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
@pytest.mark.parametrize("passphrase", [PHRASE, ""])
def test_keys_in_their_usual_forms_are_opened(form: str, passphrase: str) -> None:
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256") if form == "pkcs1-pem" else KEY
    text = key.export_private_key(form, passphrase or None, rounds=4, ignore_few_rounds=True).decode()
    for each in (text, f"\n {text} \n", text.replace("\n", "\r\n")):
        assert opened(login(each, passphrase)).public_data == key.public_data


@pytest.mark.parametrize("rounds", [MOST_BCRYPT + 1, 2**31, 2**32 - 1])
def test_an_openssh_key_that_takes_too_long_is_refused_before_it_is_opened(rounds: int) -> None:
    assert opened(login(with_rounds(4))).public_data == KEY.public_data
    with pytest.raises(
        LoginError, match=rf"with {rounds} rounds, which takes too long: 1024 are the most.*ssh-keygen -p"
    ):
        opened(login(with_rounds(rounds)))


def test_a_pkcs8_key_is_bounded_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    text = KEY.export_private_key("pkcs8-pem", PHRASE).decode()
    assert MOST_HASHES >= 600_000
    monkeypatch.setattr(sshkeys, "MOST_HASHES", 2047)
    with pytest.raises(LoginError, match=r"with 2048 rounds, which takes too long: 2047 are the most.*openssl pkcs8"):
        opened(login(text))


def pem(kind: str, data: bytes) -> str:
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{base64.b64encode(data).decode()}\n-----END {kind}PRIVATE KEY-----\n"


def nested(levels: int) -> bytes:
    """DER that nests so deep."""
    data = b""
    for _ in range(levels):
        size = len(data)
        data = b"\x30" + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2)) + data
    return data


@pytest.mark.parametrize(
    "text",
    [
        pem("", nested(2500)),
        pem("ENCRYPTED ", nested(2500)),
        pem("ENCRYPTED ", b""),
        pem("OPENSSH ", b"openssh-key-v1\0"),
        pem("OPENSSH ", b"openssh-key-v1\0\xff\xff\xff\xff"),
        BUNDLED.replace("\n", "\nA: b\n", 1),
        KEY.export_private_key("pkcs8-pem", PHRASE).decode().replace("ENCRYPTED ", "", 1),
        "0\x03abc",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_what_is_no_key_is_named_so(text: str) -> None:
    with pytest.raises(LoginError, match="the private key of swarm is none in OpenSSH's or PEM form"):
        opened(login(text))


def test_a_key_longer_than_any_is_not_looked_at() -> None:
    with pytest.raises(LoginError, match=f"{LONGEST} are the most"):
        opened(login(pem("RSA ", bytes(LONGEST))))
