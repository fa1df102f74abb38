"""Secrets are taken out of texts, by their form, by the word before them and by their value, and nothing else is."""

import base64
import json
import re
from pathlib import Path

import pytest

from support.canaries import forms_of_text, leaks
from swarmlearning.node.secrets import known_secrets
from swarmlearning.redaction import LONGEST_LINE, is_secret, redacted

CANARY = "Canary/7f3a+19"
LONG = "ABCDEFGHabcdefgh01234567" * 5
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{'Canary0a' * 8}\nCanary1b==\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"password={CANARY}",
        f"SL_PASSWORD={CANARY} and more {CANARY}",
        f"export HF_TOKEN='{CANARY}'",
        f'{{"a": 1, "dbPassword": "{CANARY} \\" {CANARY}", "b": 2}}',
        f"{{'api_key': '{CANARY}'}}",
        f"  passphrase: two words {CANARY}",
        f"secret: |\n  {CANARY}\n  more {CANARY}\nnext: 1",
        f"swarm sl --api-key {CANARY} --name x",
        f"['swarm', '--db-password', '{CANARY}', '--name']",
        f"--token={CANARY}",
        f"Authorization: Bearer {CANARY}aaaa",
        "said: Basic Canary7f3aCanary",
        f"license-key: {CANARY}",
        f"invitation={CANARY}",
        "https://site:Canary-1@proxy:8080/path",
        "http://a:b@c http://site:Canary-1@proxy",
        "swarm join SWARM1-Canary" + "ABCDEFGH" * 12,
        "swarm join SWARM1canary2345canaryabc",
        "eyJCanary" + LONG + ".eyJ" + LONG + ".sig",
        "token of hf_Canary" + LONG[:30],
        "cookie: session=Canary; path=/",
        f"trained with {PEM} by hand",
        PEM.replace("\n", "\\n"),
        PEM[:-60],
        PEM[40:],
    ],
)
def test_a_secret_is_taken_out(text: str) -> None:
    found = redacted(f"line one\n{text}\nline three")
    assert "canary" not in found.lower()
    assert "[removed]" in found
    assert found.startswith("line one\n")
    assert redacted(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-29 20:00:00,123 : swarm.SL : INFO : Round 12: checked in trained model 0123456789abcdef",
        f"network {'0a' * 32}, head {'1b' * 32}:{'2c' * 32}",
        "exit code: 3, task 5, key /etc/swarm/key.pem",
        "--key-passphrase-file /etc/swarm/passphrase --cert /etc/cert.pem",
        "SWARM_ID_KEY_PASSPHRASE_FILE=/run/secrets/file",
        "max_tokens=512, tokens: 7",
        "the license token of feature 1100000378 is lent",
        "wait for https://sn-1:30304/is_up from a@b.org",
        "/srv/" + "/".join(["folder"] * 40),
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_a_diagnosis_needs_stays(text: str) -> None:
    assert redacted(text) == text


def test_secrets_that_are_known_are_found_in_any_form(tmp_path: Path) -> None:
    key, passphrase = tmp_path / "key.pem", tmp_path / "passphrase"
    key.write_text(PEM)
    passphrase.write_text("Canary-of-a-file\nnot this\n")
    environ = {
        "HF_TOKEN": CANARY,
        "https_proxy": "http://user:Canary%2Fproxy@host:1",
        "HOME": "/root",
        "PIN_TOKEN": "1",
        "SWARM_ID_KEY": "key.pem",
    }
    known = known_secrets(environ, [key, passphrase, tmp_path / "missing", tmp_path])
    secrets = {name: forms_of_text(name) for name in (CANARY, "Canary/proxy", "Canary-of-a-file")}
    said = [form for forms in secrets.values() for form in forms]
    said += [
        base64.b64encode(CANARY.encode()).decode(),
        json.dumps(CANARY),
        PEM.splitlines()[1],
        "/root",
        "1",
        "not this",
    ]
    found = redacted("\n".join(f"it is {each}." for each in said), known)
    assert leaks(found, secrets) == []
    assert PEM.splitlines()[1] not in found
    assert re.findall(r"it is (?!.*\[removed\]).*", found) == ["it is /root.", "it is 1.", "it is not this."]


def test_names_of_secrets() -> None:
    assert all(map(is_secret, ("HF_TOKEN", "db-password", "AWS_SECRET_ACCESS_KEY", "apiKey", "Authorization")))
    assert not any(map(is_secret, ("HOME", "SWARM_ID_KEY", "SWARM_ID_KEY_PASSPHRASE_FILE", "PATH", "SECRET_DIR")))


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a.",
        "password=",
        "a://a:",
        "token_",
        '--token "',
        "\\",
        "A" * 60 + "\n",
        "secret: |\n x\n",
        PEM[:40],
        PEM[-30:],
    ],
)
def test_a_hostile_text_takes_no_long_time(piece: str) -> None:
    """A million characters take a second or so; what takes a time that grows faster would not end."""
    found = redacted(piece * (1_000_000 // len(piece)))
    assert max(map(len, found.split("\n"))) <= LONGEST_LINE + 100
