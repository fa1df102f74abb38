"""A swarm with faults and canary secrets, and the archives of its logs: `make e2e-logs`, a short form in `make test`.

`python -m support.collected` runs three SNs, four SLs and a SWOP, looks at each check by name, opens the page in
Chromium, and leaves archive and picture in `runs/`.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from support.canaries import forms_of_key, forms_of_text, leaks
from support.certs import make_workspace
from support.operating import Operator
from support.processes import COMMAND, Process, Processes
from support.sns import Network
from support.swarm import ML, Gate
from support.swops import operations
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.taskfiles.definition import RunSwarm

RUNS = Path(__file__).parents[2] / "runs"
WORDS = {
    "environment": "Canary-env-55aa01",
    "proxy": "Canary/proxy-55aa02",
    "passphrase": "Canary-file-55aa03",
    "argument": "Canary-arg-55aa04",
    "log line": "Canary-line-55aa05",
    "settings": "Canary-yaml-55aa06",
}
VARIABLES = {
    "HF_TOKEN": WORDS["environment"],
    "https_proxy": "http://site:Canary%2Fproxy-55aa02@127.0.0.1:9",
    "no_proxy": "127.0.0.1",
}
ROUNDS = ("--rounds", "5000", "--min-peers", "2", "--batch-seconds", "0.1")


class Check(NamedTuple):
    name: str
    held: bool


class Story:
    """Use as a context manager. The last SL is another organisation's; the second one, and the last of several SNs, are
    killed on the way."""

    def __init__(self, processes: Processes, directory: Path, sns: int, sls: int) -> None:
        self.directory = directory
        self._processes = processes
        self._sns, self._sls = sns, sls
        self._stack = ExitStack()
        self.net = Network(processes, directory, sls=sls)
        cert = directory / "cert"
        self.net.identities |= make_workspace(cert, ["SWOP-1", "SWCI-1", f"SL-{sls + 1}"])
        self.net.identities |= make_workspace(cert, [f"SL-{sls}"], ca_name="CA-2")
        self.secrets = {name: forms_of_text(word) for name, word in WORDS.items()}
        for name, identity in self.net.identities.items():
            assert isinstance(identity.private_key, EllipticCurvePrivateKey)
            self.secrets[name] = forms_of_key(identity.private_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, gate: Gate) -> None:
        """Until there is something to find; everything still runs then, but for what was killed."""
        self._processes.variables |= VARIABLES
        if self._sns == 1:
            assert self.net.start(1, ordering="local").ready
        else:
            self.net.found(self._sns)
        sites = [self._site(index) for index in range(1, self._sls + 1)]
        assert all(site.ready for site in sites)
        self._pair(gate)
        self.net.until_training(1, lambda state: state.rounds >= 3)
        self.net.sns[1].signal(signal.SIGUSR1)
        sites[1].kill()
        if self._sns > 1:
            self.net.sns[self._sns].kill()
        self.net.until_training(1, lambda state: _is_lost(state, 1))
        self._processes.variables.clear()

    def _site(self, index: int) -> Process:
        host = self.net.hosts.address(1)
        options = self.net.sl_options(index, host_ip=host, sn_ip=host, sn_api_port=str(self.net.ports[1]))
        if index == 1:
            options |= self._encrypted()
        script = ("env", f"DB_PASSWORD={WORDS['argument']}", sys.executable, ML, "--index", str(index), *ROUNDS)
        return self._processes.node(f"SL-{index}", "sl", options, ml=script)

    def _encrypted(self) -> dict[str, str | Path]:
        """A key that is encrypted by the passphrase in a file."""
        key, passphrase = self.directory / "encrypted.pem", self.directory / "passphrase"
        private = self.net.identities["SL-1"].private_key
        encryption = BestAvailableEncryption(WORDS["passphrase"].encode())
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        passphrase.write_text(f"{WORDS['passphrase']}\n")
        return {"key": key, "key-passphrase-file": passphrase}

    def _pair(self, gate: Gate) -> None:
        """A SWOP's ML process that prints secrets and a private key."""
        key = self.net.identities["SWCI-1"].key_path
        said = f'echo "password: {WORDS["log line"]}"; echo "--token {WORDS["log line"]}"; cat {key}'
        script = self.directory / "script.sh"
        script.write_text(f"{said}\necho the script is at work\nhead -c1 {gate.path} >/dev/null\n")
        ops = self._stack.enter_context(operations(self.net, "SWCI-1"))
        ops.start("SWOP-1", [f"SL-{self._sls + 1}"])
        settings = self.directory / "SWOP-1" / "notes.yaml"
        settings.write_text(f"site: a\ndbPassword: {WORDS['settings']}\n")
        variables = (("SWARM_LOOPBACK", "True"),)
        ops.task("train", RunSwarm(str(script), "/bin/sh", str(self.directory), variables))
        ops.assign("train", 1)
        ops.mine(1, _runs)

    # --- what is collected ------------------------------------------------------------------------------------------

    def over_network(self, output: Path) -> str:
        """Collects from all nodes; returns what the command says."""
        return Operator(self.net).does("logs", "collect", "--output", output)

    def of_folders(self, output: Path) -> str:
        """Collects from folders of this host."""
        folders = [self.directory / name for name in ("sn-1", "sl-1", "SWOP-1")]
        done = self._processes.start("collect", *COMMAND, "logs", "collect", *folders, "--output", output)
        assert done.wait() == 0, done.output
        return done.output

    def checks(self, said: str, found: Mapping[str, str]) -> Iterator[Check]:
        """Of an archive of all nodes."""
        summary, index = json.loads(found["summary.json"]), found["index.html"]
        sources = {source["name"]: source for source in summary["sources"]}
        own = ["SN-1", "site-1", "SWOP-1"]
        yield Check("canaries are nowhere", not self.leaks(found))
        for name in own:
            files = {entry["name"].rpartition("/")[2] for entry in sources[name]["files"]}
            yield Check(f"{name}: log, report and stacks", {"node.log", "report.json", "stacks.txt"} <= files)
        pair = [text for name, text in found.items() if name.endswith("pair-0-ml.log")]
        yield Check("the pair's output, without its secrets", len(pair) == 1 and "the script is at work" in pair[0])
        yield Check("stacks of threads and tasks", "task " in _of(found, "site-1", "stacks.txt"))
        command = json.loads(_of(found, "site-1", "report.json"))["process"]["command"]
        yield Check("the command line, without its secret", "DB_PASSWORD=[removed]" in command)
        yield Check("the log says who reads it", "reads a report of this node" in _of(found, "site-1", "node.log"))
        foreign = sources[f"site-{self._sls}"]
        withheld = "does not share its own log with ca-1"
        named = withheld in foreign["missing"].get("node.log", "") and withheld in said
        yield Check("what a site withholds is named", named)
        lost = sources["site-2"]
        yield Check("a node that does not answer is named", "is not connected" in lost["missing"].get("node.log", ""))
        yield Check("rounds are drawn", len(re.findall(r"round \d+: ended", index)) >= 3)
        yield Check("the fault is told", "site-2 is lost: its lease is gone" in index)
        yield Check("blocks and status", {"ledger/blocks.txt", "ledger/status.json"} <= set(found))
        yield Check("the page loads nothing", not re.search(r"(src|href)=.?(https?:|//)|<script|url\(", index))
        if self._sns > 1:
            last = sources[f"SN-{self._sns}"]
            yield Check("an SN that is down is named", bool(last["missing"]) and not last["files"])

    def folder_checks(self, found: Mapping[str, str]) -> Iterator[Check]:
        """Of an archive of folders."""
        yield Check("folders: canaries are nowhere", not self.leaks(found))
        yield Check("folders: the ledger is drawn", "round 1: ended" in found["index.html"])
        stacks = [text for name, text in found.items() if name.endswith("1-sn-1/stacks.txt")]
        yield Check("folders: what SIGUSR1 wrote", len(stacks) == 1 and " tasks\n" in stacks[0])
        ml = [text for name, text in found.items() if name.endswith("0-ml.log")]
        yield Check("folders: a pair's output", len(ml) == 1 and "password: [removed]" in ml[0])
        notes = [text for name, text in found.items() if name.endswith("notes.yaml")]
        yield Check("folders: settings", notes == ["site: a\ndbPassword: [removed]\n"])
        facts = [json.loads(text) for name, text in found.items() if name.endswith("facts.json")]
        yield Check("folders: health of nodes that run", sum(isinstance(each["health"], dict) for each in facts) >= 3)

    def leaks(self, found: Mapping[str, str]) -> dict[str, list[str]]:
        """The files that have a secret, and which."""
        return {name: names for name, text in found.items() if (names := leaks(text, self.secrets))}

    def planted(self) -> list[str]:
        """The words that lie in the files of this host from which archives are made: that they can be found there."""
        found = [path for path in (self.directory / "SWOP-1").rglob("*") if path.suffix in (".log", ".yaml")]
        return leaks("".join(path.read_bytes().decode("latin-1") for path in found), self.secrets)


def files(path: Path) -> dict[str, str]:
    """The files of an archive by their names below its root."""
    with tarfile.open(path) as tar:
        named = {entry.name.partition("/")[2]: tar.extractfile(entry) for entry in tar}
        return {name: data.read().decode() for name, data in named.items() if data is not None}


def _of(found: Mapping[str, str], node: str, file: str) -> str:
    return next(text for name, text in found.items() if name.endswith(f"-{node}/{file}"))


def _runs(peer: Peer) -> bool:
    return [pair.state for pair in peer.reports] == ["running"]


def _is_lost(state: Training, least: int) -> bool:
    return sum(not member.present for member in state.members.values()) >= least


def opened(archive: Path, folder: Path) -> Check:
    """Opens the page of an archive in Chromium, which has no network, and takes a picture of it."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (index,) = folder.glob("*/index.html")
    picture = folder / "index.png"
    command = [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
        *("--proxy-server=127.0.0.1:1", "--enable-logging=stderr", "--window-size=1340,1700"),
    ]
    shot = [*command, f"--screenshot={picture}", index.as_uri()]
    done = subprocess.run(shot, capture_output=True, text=True, timeout=120)
    dom = subprocess.run([*command, "--dump-dom", index.as_uri()], capture_output=True, text=True, timeout=120).stdout
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    print(f"picture: {picture}")
    held = picture.exists() and "Rounds and faults" in dom and "<svg" in dom and not complaints
    return Check("the page opens in Chromium", held)


def main() -> int:
    """Returns the exit status."""
    begun = time.perf_counter()
    runs = RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-e2e-logs"
    runs.mkdir(parents=True)
    directory = Path(tempfile.mkdtemp(prefix="e2e-logs-"))
    gate = Gate(directory / "gate")
    try:
        with Processes(directory) as processes, Story(processes, directory, sns=3, sls=4) as story:
            story.run(gate)
            online, offline = runs / "network.tar.gz", runs / "folders.tar.gz"
            said = story.over_network(online)
            story.of_folders(offline)
            found = [*story.checks(said, files(online)), *story.folder_checks(files(offline))]
            story.net.kill_sns()
        if shutil.which("chromium"):
            found.append(opened(online, runs / "page"))
        else:
            print("NOT OPENED in a browser: chromium is missing (apt-get install chromium)")
    finally:
        gate.close()
        shutil.rmtree(directory, ignore_errors=True)
    for check in found:
        print(f"{'held' if check.held else 'BROKE'}  {check.name}")
    broken = sum(not check.held for check in found)
    print(f"{runs}\nin {time.perf_counter() - begun:.0f} s\ne2e-logs: {len(found)} checks, {broken} broke")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
