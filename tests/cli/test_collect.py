"""An archive of logs: what goes in, what stays out, and what others' names and texts cannot do."""

import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.canaries import forms_of_key, forms_of_text, leaks
from support.certs import make_workspace
from support.network import Ledger
from support.rounds import publish, report_all, submit, three_sites
from support.swarm import identity_options
from swarmlearning.cli.collect import folders
from swarmlearning.cli.logs import app
from swarmlearning.collect import archive as archives
from swarmlearning.collect.archive import Archive, CollectError, safe
from swarmlearning.collect.content import Content, Entry, Source
from swarmlearning.collect.drawing import MOST_ROWS, drawing
from swarmlearning.collect.index import page
from swarmlearning.collect.ledger import excerpt
from swarmlearning.ledger.bodies import Lost
from swarmlearning.ledger.contracts import network
from swarmlearning.ordering.local import ChainWriter
from swarmlearning.views.chronicle import Chronicle, Event

HOSTILE = "<script>alert(1)</script>\"'&\x1b[2J\u202e../../etc"
CANARY = "Canary-4f1d-collect"


def files(path: Path) -> dict[str, str]:
    """The files of an archive by their names below its root."""
    with tarfile.open(path) as tar:
        found = {}
        for entry in tar:
            assert entry.isfile()
            assert re.fullmatch(r"swarm_logs[A-Za-z0-9._/-]+", entry.name)
            assert ".." not in entry.name
            data = tar.extractfile(entry)
            assert data is not None
            found[entry.name.partition("/")[2]] = data.read().decode()
        return found


@pytest.mark.parametrize("name", ["../../etc/passwd", "/abs", "..", "", ".hidden", "a\nb\x1b\u202e", "x" * 500, "ä/ö"])
def test_names_of_others_lead_nowhere(name: str, tmp_path: Path) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", safe(name))
    with Archive(tmp_path / "a.tar.gz", "swarm_logs") as archive:
        chosen = [archive.add(f"nodes/{name}/log", "one"), archive.add(f"nodes/{name}/log", "two")]
    assert len(set(chosen)) == 2
    assert files(tmp_path / "a.tar.gz") == dict(zip(chosen, ("one", "two"), strict=True))


def test_an_archive_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken_off() -> None:
        with Archive(tmp_path / "a.tar.gz", "swarm_logs") as archive:
            archive.add("x", "y")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CollectError, match="name another --output"):
        Archive(tmp_path / "missing" / "a.tar.gz", "swarm_logs").__enter__()
    with Archive(tmp_path / "a.tar.gz", "swarm_logs"):
        pass
    assert (tmp_path / "a.tar.gz").stat().st_mode & 0o077 == 0


def test_what_does_not_fit_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 10)
    with Archive(tmp_path / "a.tar.gz", "swarm_logs") as archive:
        assert [archive.add("a", "x" * 8), archive.add("b", "x" * 8), archive.add("c", "xy")] == ["a", "", "c"]


# --- the page -------------------------------------------------------------------------------------------------------


def faulty(ledger: Ledger) -> Chronicle:
    submit(ledger, "site-1", "site-2", "site-3")
    publish(ledger, "a" * 64)
    report_all(ledger)
    ledger.send("sn-1", Lost("site-3", 1), network.CONTRACT)
    return excerpt(ledger.blocks)[0]


def test_the_page_says_first_what_is_wrong_and_what_is_missing() -> None:
    source = Source("site-1", {"type": "SL", "release": "0.1.0"}, [Entry("nodes/1/node.log", 1200, "only 1 MB")])
    content = Content("Swarm logs: x", "now", {"network": "x"}, [source], [], {"ledger": "too slow"}, ["disk full: go"])
    content.chronicle = faulty(three_sites())
    source.missing["stacks"] = "its site does not share them"
    text = page(content)
    wrong, lacking, table = (text.index(each) for each in ("disk full: go", "Not in this archive", "<table>"))
    assert wrong < lacking < table
    assert "site-1, stacks: its site does not share them" in text
    assert 'href="nodes/1/node.log">node.log</a> <span class="size">1.2 kB, only 1 MB</span>' in text
    assert "site-3 is lost: its lease is gone" in text
    assert 'fill="#f4c7c3"' in text
    assert "round 0: ended" in text


def test_what_others_have_written_does_nothing_in_the_page() -> None:
    chronicle = faulty(three_sites())
    chronicle._names |= dict.fromkeys(("site-1", "site-2", "site-3"), HOSTILE)
    chronicle.events.append(Event(1, chronicle.last_ms, "fault", "site-1", HOSTILE, HOSTILE, 1))
    for span in chronicle.rounds:
        span.contract = HOSTILE
    source = Source(HOSTILE, {HOSTILE: HOSTILE}, [Entry(HOSTILE, 1, HOSTILE)], {HOSTILE: HOSTILE})
    content = Content(
        HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, [source], [Entry(HOSTILE, 1)], {HOSTILE: HOSTILE}, [HOSTILE]
    )
    content.chronicle = chronicle
    text = page(content)
    assert "<script" not in text.lower()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:|//|javascript:|file:)", text)
    assert all(tag in TAGS for tag in re.findall(r"</?([a-z0-9!]+)", text)), "no tag but ours"


TAGS = {
    *("!doctype", "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "dl", "dt", "dd", "div"),
    *("b", "ul", "li", "table", "tr", "th", "td", "a", "span", "br", "i", "svg", "text", "line", "rect", "path"),
}


def test_the_drawing_stays_readable_with_many_nodes_and_rounds() -> None:
    chronicle = Chronicle()
    assert drawing(chronicle).startswith("<svg")
    for number in range(200):
        chronicle.seen[f"node-{number}"] = None
    text = drawing(chronicle)
    assert text.count('font-weight="400"') == MOST_ROWS
    assert f"and {200 - MOST_ROWS} more nodes" in text


# --- folders of this host -------------------------------------------------------------------------------------------


def run(*words: str | Path, status: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == status, done.output
    return done.output


def test_the_ledger_of_a_folder_is_drawn_even_where_a_block_is_damaged(tmp_path: Path) -> None:
    ledger = three_sites()
    faulty(ledger)
    (tmp_path / "run" / "sn").mkdir(parents=True)
    with ChainWriter(tmp_path / "run" / "sn" / "chain.sqlite") as chain:
        for height, raw in enumerate(ledger.blocks[:-1]):
            chain.add(height, raw)
        chain.add(len(ledger.blocks), ledger.blocks[-1])
    said = run("collect", tmp_path / "run", "--output", tmp_path / "out.tar.gz")
    found = files(tmp_path / "out.tar.gz")
    assert f"block {len(ledger.blocks) - 1} is missing" in said
    assert "round 0: ended" in found["index.html"]
    assert len(found["folders/1-run/ledger.txt"].splitlines()) == len(ledger.blocks) - 1
    assert "BEGIN CERTIFICATE" not in found["folders/1-run/ledger.txt"]


def test_folders_are_collected_without_their_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = make_workspace(tmp_path / "node" / "cert", ["SL-1"])["SL-1"]
    node = tmp_path / "node"
    key = identity.key_path.read_text()
    (node / "node.log").write_text(f"a line\nit is {CANARY} here, password={CANARY}2\n{key}end\n\x1b[2J\n")
    (node / "node.log.1").write_text("an older line\n")
    (node / "profile.yaml").write_text(f"groupname: x\ndbPassword: {CANARY}3\n")
    (node / "secret.txt").write_text(CANARY)
    (node / "key.pem").write_text(key)
    (node / "models").mkdir()
    (node / "models" / "training.log").write_text("patients")
    (node / "crashes").mkdir()
    (node / "crashes" / "20261129-200000-1-1.txt").write_text(f"Traceback --token {CANARY}4")
    (node / "link.log").symlink_to(node / "secret.txt")
    os.mkfifo(node / "pipe.log")
    (node / "deep" / "logs").mkdir(parents=True)
    (node / "deep" / "logs" / "SL-1.log").write_text("in a run\n")
    monkeypatch.setenv("HF_TOKEN", CANARY)
    output = tmp_path / "out.tar.gz"
    said = run("collect", node, "--output", output, "--key", identity.key_path)
    found = files(output)
    secrets = {"text": forms_of_text(CANARY), "key": forms_of_key(identity.private_key)}  # type: ignore[arg-type]
    assert {name: leaks(text, secrets) for name, text in found.items() if leaks(text, secrets)} == {}
    names = {name.removeprefix("folders/1-node/") for name in found}
    assert names == {
        *("host.json", "summary.json", "index.html", "node.log", "node.log.1", "profile.yaml"),
        *("crashes/20261129-200000-1-1.txt", "deep/logs/SL-1.log"),
    }
    assert found["folders/1-node/node.log"] == (
        "a line\nit is [removed] here, password=[removed]\n[removed]\nend\n\\x1b[2J\n"
    )
    assert "groupname: x" in found["folders/1-node/profile.yaml"]
    assert "6 files of 1 nodes or folders" in said
    assert json.loads(found["summary.json"])["sources"][0]["files"]
    assert "No ledger is in this archive" in found["index.html"]


def test_only_the_end_of_what_is_too_long_is_taken(tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.mkdir()
    (node / "node.log").write_text("".join(f"line {number:07}\n" for number in range(150_000)))
    run("collect", node, "--output", tmp_path / "out.tar.gz", "--mb-per-node", "1")
    found = files(tmp_path / "out.tar.gz")
    text = found["folders/1-node/node.log"]
    assert 990_000 < len(text) <= 1_000_000
    assert text.splitlines()[-1] == "line 0149999"
    assert re.fullmatch(r"line \d{7}", text.splitlines()[0])
    assert "only the last of 1950000 bytes" in found["index.html"]


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    said = run("collect", tmp_path / "missing", "--output", tmp_path / "out.tar.gz", status=1)
    assert "there is no such folder" in said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_an_end_is_looked_at_only_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST_LOOKED_AT", 5)
    for number in range(10):
        (tmp_path / f"{number}.log").write_text("x")
    said = run("collect", tmp_path, "--output", tmp_path / "out.tar.gz")
    assert "only the first 5 entries of the folder were looked at" in said


def test_without_an_sn_it_says_what_can_still_be_collected(tmp_path: Path) -> None:
    identity = make_workspace(tmp_path / "cert", ["SWCI-1"])["SWCI-1"]
    words = [word for name, path in identity_options(identity).items() for word in (f"--{name}", path)]
    place = ("--sn-api-port", "9", "--data-dir", tmp_path / "operator", "--output", tmp_path / "out.tar.gz")
    said = run("collect", *words, *place, status=1)
    assert "swarm logs collect: " in said
    assert "Without a network: `swarm logs collect FOLDER`" in said
    assert not (tmp_path / "out.tar.gz").exists()


def test_a_log_is_still_shown_by_the_name_of_its_node() -> None:
    said = run("site-1", "--sl", "0", status=1)
    assert "names a pair of the task of a --taskrunner" in said
    assert "collect" in run("--help")
