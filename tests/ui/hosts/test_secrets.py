"""Secrets of hosts: sealed at rest, and shown nowhere."""

import logging
import pickle
from dataclasses import replace

import pytest

from swarmlearning.ui.hosts.logins import Login, LoginError, Secret, packed, unpacked
from swarmlearning.ui.hosts.secretbox import LONGEST, VARIABLE, SecretBox, SecretBoxError

KEY = "a key of the environment"
LOGIN = Login("swarm", key=Secret("-----BEGIN OPENSSH PRIVATE KEY-----\nabc"), passphrase=Secret("s3cret words"))


def test_what_is_sealed_opens_again_in_another_process_with_the_same_key() -> None:
    sealed = SecretBox(KEY).seal("hunter2 ☃", "ssh 10.0.0.7")
    assert "hunter2" not in sealed
    assert SecretBox(KEY).open(sealed, "ssh 10.0.0.7") == "hunter2 ☃"


def test_no_two_sealed_texts_are_alike() -> None:
    box = SecretBox(KEY)
    assert len({box.seal("same", "purpose") for _ in range(20)}) == 20


@pytest.mark.parametrize("other", ["key", "purpose", "flipped", "cut", "empty", "version", "no base64"])
def test_nothing_else_opens_it(other: str) -> None:
    box = SecretBox(KEY)
    sealed = box.seal("hunter2", "ssh a")
    flipped = sealed[:-5] + ("A" if sealed[-5] != "A" else "B") + sealed[-4:]
    texts = {"flipped": flipped, "cut": sealed[:40], "empty": "1.", "version": "2" + sealed[1:], "no base64": "1.§§"}
    opening = SecretBox(KEY + ".") if other == "key" else box
    with pytest.raises(SecretBoxError) as caught:
        opening.open(texts.get(other, sealed), "ssh b" if other == "purpose" else "ssh a")
    assert "hunter2" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_box_of_the_environment() -> None:
    assert SecretBox.of({}) is None
    assert SecretBox.of({VARIABLE: "  "}) is None
    assert SecretBox.of({VARIABLE: KEY}) is not None
    with pytest.raises(SecretBoxError, match=r"has 5 characters.*openssl rand"):
        SecretBox.of({VARIABLE: "short"})


def test_a_secret_that_is_too_long_is_not_kept() -> None:
    with pytest.raises(SecretBoxError, match=f"at most {LONGEST}"):
        SecretBox(KEY).seal("x" * (LONGEST + 1), "ssh a")


def test_a_login_is_packed_and_unpacked() -> None:
    assert unpacked(packed(LOGIN)) == LOGIN
    with pytest.raises(LoginError) as caught:
        unpacked(packed(LOGIN)[:-5])
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__}"


def test_a_login_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("%s %r", LOGIN, [LOGIN.key])
    shown = f"{LOGIN} {LOGIN!r} {LOGIN.key} {SecretBox(KEY)!r} {vars(SecretBox(KEY)).keys()} {caplog.text}"
    assert "s3cret" not in shown
    assert "OPENSSH" not in shown
    assert KEY not in shown
    with pytest.raises(TypeError):
        pickle.dumps(LOGIN.key, protocol=0)


@pytest.mark.parametrize(
    ("user", "password", "key", "why"),
    [
        ("", "p", "", "name the user"),
        ("a b", "p", "", "name the user"),
        ("a\n", "p", "", "name the user"),
        ("swarm", "", "", "a password or with a private key"),
        ("swarm", "p", "k", "give one of them"),
    ],
)
def test_a_login_needs_a_user_and_one_secret(user: str, password: str, key: str, why: str) -> None:
    with pytest.raises(LoginError, match=why):
        Login(user, Secret(password), Secret(key))


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert replace(LOGIN, user="other") != LOGIN
