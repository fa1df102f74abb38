"""Identities in files that change while a node runs."""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from support.certs import KINDS, authority_in, expired, make_workspace, not_yet_valid, stranger, with_key
from support.heard import Heard, hearing
from support.watching import watching
from swarmlearning.files import replace_file
from swarmlearning.identity import identity as identity_module
from swarmlearning.identity.ca import Key, create_authority, issue
from swarmlearning.identity.certificates import load_certificate, to_pem
from swarmlearning.identity.files import FileSource, IdentityFiles
from swarmlearning.identity.identity import Identity, IdentityError
from swarmlearning.identity.source import Latest
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace

SECONDS = 120  # only ends a test that would hang


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    make_workspace(tmp_path, ["SL-1", "SN-1"])
    return Workspace(tmp_path)


def paths(workspace: Workspace) -> IdentityFiles:
    return IdentityFiles(capath=workspace.capath, cert=workspace.certificate("SL-1"), key=workspace.key("SL-1"))


@asynccontextmanager
async def watched(workspace: Workspace) -> AsyncIterator[FileSource]:
    """A source whose files are looked at often."""
    async with watching(FileSource(paths(workspace), seconds=0.01), SECONDS) as source:
        yield source


@pytest.fixture
def heard() -> Iterator[Heard]:
    with hearing("swarm.identity") as found:
        yield found


class TestWatching:
    async def test_a_renewed_certificate_is_taken_over_with_its_new_key(self, workspace: Workspace) -> None:
        async with watched(workspace) as source:
            old = source.current
            new = with_key(workspace.root, "SL-1", "ed25519")
            assert await source.changed(old) == new == source.current
            assert source.current.signer().thumbprint == new.thumbprint

    async def test_a_ca_that_is_added_or_removed_is_a_change(self, workspace: Workspace) -> None:
        other = create_authority("CA-2", 10).certificate
        added = workspace.capath / "org2.pem"
        async with watched(workspace) as source:
            first = source.current
            added.write_text(to_pem(other))
            second = await source.changed(first)
            assert set(second.anchors) == {*first.anchors, other}
            added.unlink()
            assert await source.changed(second) == first

    async def test_a_folder_that_is_replaced_by_a_symbolic_link_is_followed(self, workspace: Workspace) -> None:
        """As Kubernetes replaces the files of a secret: all at once."""
        made = [workspace.root / "one", workspace.root / "two"]
        for folder in made:
            folder.mkdir()
            pair = issue(authority_in(workspace.root), "SL-1", [], ["127.0.0.1"], 9)
            Workspace(folder).save_node("SL-1", pair)
        data = workspace.root / "data"
        data.symlink_to(made[0])
        files = IdentityFiles(None, workspace.capath, data / "sl-1-cert.pem", data / "sl-1-key.pem")
        source = FileSource(files, seconds=0.01)
        watching = asyncio.create_task(source.watch())
        (workspace.root / "new").symlink_to(made[1])
        (workspace.root / "new").replace(data)
        async with asyncio.timeout(SECONDS):
            changed = await source.changed(source.current)
        watching.cancel()
        assert changed.certificate == load_certificate((made[1] / "sl-1-cert.pem").read_bytes())

    async def test_a_sighup_looks_at_once_and_says_what_it_found(self, workspace: Workspace, heard: Heard) -> None:
        source = FileSource(paths(workspace), seconds=3600)
        watching = asyncio.create_task(source.watch())
        async with asyncio.timeout(SECONDS):
            source.look()
            await heard.until("nothing has changed in the certificate and the CAs trusted")
            old, new = source.current, with_key(workspace.root, "SL-1", "ec")
            source.look()
            assert await source.changed(old) == new
            await heard.until(f"{workspace.certificate('SL-1')}: read anew, valid until 20")
        watching.cancel()


def half_certificate(workspace: Workspace) -> None:
    path = workspace.certificate("SL-1")
    path.write_bytes(path.read_bytes()[:300])


def other_key(workspace: Workspace) -> None:
    shutil.copy(workspace.key("SN-1"), workspace.key("SL-1"))


def other_subject(workspace: Workspace) -> None:
    shutil.copy(workspace.key("SN-1"), workspace.key("SL-1"))
    shutil.copy(workspace.certificate("SN-1"), workspace.certificate("SL-1"))


def other_organisation(workspace: Workspace) -> None:
    foreign = stranger(workspace.root, "SL-1")
    shutil.copy(foreign.cert_path, workspace.certificate("SL-1"))
    shutil.copy(foreign.key_path, workspace.key("SL-1"))


def no_ca(workspace: Workspace) -> None:
    for path in workspace.capath.iterdir():
        path.unlink()


def broken_ca(workspace: Workspace) -> None:
    (workspace.capath / "org2.pem").write_text("-----BEGIN CERTIFICATE-----\n")


FAULTS: dict[str, tuple[Callable[[Workspace], object], str]] = {
    "half a certificate": (half_certificate, r"sl-1-cert.pem: "),
    "no certificate": (lambda workspace: workspace.certificate("SL-1").unlink(), r"sl-1-cert.pem: cannot be read"),
    "another key": (other_key, r"sl-1-key.pem and .*the private key is not the key of certificate 'CN=SL-1"),
    "no key": (lambda workspace: workspace.key("SL-1").write_bytes(b""), r"sl-1-key.pem: no private key in PEM form"),
    "expired": (lambda workspace: expired(workspace.root, "SL-1"), r"sl-1-cert.pem: .* expired at .*must renew it"),
    "not yet valid": (
        lambda workspace: not_yet_valid(workspace.root, "SL-1"),
        r"sl-1-cert.pem: .*not yet valid",
    ),
    "wrong authority": (other_organisation, r"sl-1-cert.pem: .*another CA uses that name too"),
    "another subject": (
        other_subject,
        r"sl-1-cert.pem: .*is for 'CN=SN-1,.*', and this node is 'CN=SL-1,.*': have one issued for the same subject",
    ),
    "no authority": (no_ca, r"capath: no CA certificate"),
    "half an authority": (broken_ca, r"org2.pem: "),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_old_identity_goes_on_with_one_warning_that_names_file_and_reason_until_the_files_fit(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    spoil, text = FAULTS[fault]
    whole = {path: path.read_bytes() for path in workspace.root.rglob("*.pem")}
    looks = asyncio.Semaphore(0)
    load = IdentityFiles.load
    loop = asyncio.get_running_loop()

    def counted(files: IdentityFiles, *, expired: bool = False) -> Identity:
        loop.call_soon_threadsafe(looks.release)
        return load(files, expired=expired)

    async with watched(workspace) as source:
        old = source.current
        monkeypatch.setattr(IdentityFiles, "load", counted)
        spoil(workspace)
        for _ in range(4):  # it looks again and again: a certificate may become valid
            await looks.acquire()
        assert source.current == old
        warnings = [record.getMessage() for record in caplog.records if record.name == "swarm.identity"]
        assert len(warnings) == 1
        goes_on = "This node goes on with the certificate that it has, which is valid until"
        assert re.search(f"{text}.*{goes_on}", warnings[0])
        for path, content in whole.items():
            path.write_bytes(content)
        (workspace.capath / "org2.pem").unlink(missing_ok=True)
        new = with_key(workspace.root, "SL-1", "ec")
        assert await source.changed(old) == new


async def test_what_is_being_written_is_neither_used_nor_warned_of(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key first, then the certificate in two parts, with a look after each: only the whole is ever read."""
    states, reads = asyncio.Semaphore(0), list[str]()
    loop, state, load = asyncio.get_running_loop(), IdentityFiles.state, IdentityFiles.load
    source = FileSource(paths(workspace), seconds=0.01)
    old, pair = source.current, issue(authority_in(workspace.root), "SL-1", [], ["127.0.0.1"], 9)
    certificate = to_pem(pair.certificate).encode()
    steps = iter(
        (
            lambda: replace_file(workspace.key("SL-1"), pem(pair.key), 0o600),
            lambda: workspace.certificate("SL-1").write_bytes(certificate[:99]),
            lambda: workspace.certificate("SL-1").write_bytes(certificate),
        )
    )

    def changing(files: IdentityFiles) -> tuple[object, ...]:
        """Every look finds that something has been written since the last one."""
        if step := next(steps, None):
            step()
        loop.call_soon_threadsafe(states.release)
        return state(files)

    def noted(files: IdentityFiles, *, expired: bool = False) -> Identity:
        reads.append(files.cert.read_text() if files.cert else "")
        return load(files, expired=expired)

    monkeypatch.setattr(IdentityFiles, "state", changing)
    monkeypatch.setattr(IdentityFiles, "load", noted)
    watching = asyncio.create_task(source.watch())
    async with asyncio.timeout(SECONDS):
        assert (await source.changed(old)).certificate == pair.certificate
    watching.cancel()
    assert reads == [certificate.decode()]
    assert caplog.text == ""


async def test_a_certificate_that_was_not_yet_valid_is_used_once_it_is(
    workspace: Workspace, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = issue(authority_in(workspace.root), "SL-1", [], ["127.0.0.1"], 9, datetime.now(UTC) + timedelta(hours=1))
    async with watched(workspace) as source:
        old = source.current
        workspace.save_node("SL-1", pair)
        await heard.until("not yet valid before")
        assert source.current == old
        later = time.time_ns() + 2 * 3600 * 10**9
        monkeypatch.setattr(identity_module, "time", SimpleNamespace(time_ns=lambda: later))
        assert (await source.changed(old)).certificate == pair.certificate


@pytest.mark.parametrize("kind", KINDS)
def test_an_encrypted_key_is_read_with_the_first_line_of_its_passphrase_file(workspace: Workspace, kind: str) -> None:
    made = with_key(workspace.root, "SL-1", kind)
    passphrase = workspace.root / "passphrase"
    passphrase.write_text("correct horse\nwhatever\n")
    encrypt(workspace, b"correct horse")
    found = replace(paths(workspace), passphrase=passphrase).load()
    assert (found, found.secret_paths) == (made_with(made, passphrase), (workspace.key("SL-1"), passphrase))
    assert found.signer().thumbprint == made.thumbprint
    client_context(found)


def test_a_passphrase_is_taken_from_the_environment_with_the_key_it_belongs_to(workspace: Workspace) -> None:
    environment = {"SWARM_ID_KEY": "a", "SWARM_ID_KEY_PASSPHRASE_FILE": "b"}
    assert IdentityFiles().or_from(environment).passphrase == Path("b")
    assert IdentityFiles(key=Path("c")).or_from(environment).passphrase is None
    assert IdentityFiles(passphrase=Path("d")).or_from(environment).passphrase == Path("d")


@pytest.mark.parametrize(
    ("content", "encrypted", "text"),
    [
        ("wrong", True, "sl-1-key.pem: the private key cannot be decrypted with the passphrase in .*passphrase: "),
        ("", True, "passphrase: no passphrase in its first line"),
        ("\nsecond", True, "passphrase: no passphrase in its first line"),
        ("right", False, "sl-1-key.pem: the private key is not encrypted; leave out the passphrase file .*passphrase"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_named_and_not_shown(
    workspace: Workspace, content: str, encrypted: bool, text: str
) -> None:
    passphrase = workspace.root / "passphrase"
    passphrase.write_text(content)
    if encrypted:
        encrypt(workspace, b"right")
    with pytest.raises(IdentityError, match=text) as caught:
        replace(paths(workspace), passphrase=passphrase).load()
    assert "wrong" not in str(caught.value)


def test_a_missing_passphrase_file_is_named(workspace: Workspace) -> None:
    encrypt(workspace, b"right")
    with pytest.raises(IdentityError, match="absent: cannot be read: No such file or directory"):
        replace(paths(workspace), passphrase=workspace.root / "absent").load()


async def test_a_pushed_identity_is_current_at_once_and_wakes_all_who_wait(workspace: Workspace) -> None:
    first = workspace.identity("SL-1")
    source = Latest(first)
    waiting = [asyncio.create_task(source.changed(first)) for _ in range(2)]
    await asyncio.sleep(0)
    second = with_key(workspace.root, "SL-1", "rsa")
    source.replace(second)
    assert await asyncio.gather(*waiting) == [second, second]
    assert await source.changed(first) == second
    third = replace(second, anchors=(*second.anchors, create_authority("CA-2", 9).certificate))  # a bundle that changes
    later = asyncio.create_task(source.changed(second))
    await asyncio.sleep(0)
    source.replace(third)
    assert await later == third


def encrypt(workspace: Workspace, passphrase: bytes) -> None:
    path = workspace.key("SL-1")
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)))


def pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def made_with(identity: Identity, passphrase: Path) -> Identity:
    return replace(identity, passphrase_path=passphrase)
