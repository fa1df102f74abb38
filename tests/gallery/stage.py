"""A stage for one set-up: a swarm of real processes, here or in network namespaces, and a doctor who is asked."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.certs import make_workspace
from support.namespaces import Namespaces
from support.processes import COMMAND, Process, Processes
from support.sns import Network, ThisHost
from support.swarm import Gate, identity_options
from support.tools import libfaketime

SECONDS: Final = 10.0
"""Within which the cause has to be named."""
NAMES: Final = ("SWCI-1", "SWOP-1", "LICENSE-1")
FOREVER: Final = ("--rounds", "100000", "--min-peers", "2")
RELAY_PORT: Final = 30308

Options = dict[str, str | Path]


@dataclass(frozen=True)
class Verdict:
    """What the doctor has said: the findings, the likeliest cause first, after so many seconds of its own; `wall`: with
    the start of its process, which on a busy machine takes longer than all else."""

    wrong: list[dict[str, str]]
    seconds: float
    wall: float
    output: str

    @property
    def code(self) -> str:
        """Of the likeliest cause; empty where nothing is wrong."""
        return self.wrong[0]["code"] if self.wrong else ""


@dataclass(frozen=True)
class Exhibit:
    """A set-up. `needs`: tools of `support.tools`; `codes`: any of them is right, none: it is healthy; `culprit`: what
    the finding's subject or text has to name; `hosts`: in network namespaces, 0: on this machine; `short`: part of
    `make test`."""

    name: str
    run: Callable[["Stage"], Verdict]
    codes: tuple[str, ...]
    culprit: str
    needs: tuple[str, ...]
    hosts: int
    behind: Mapping[int, int]
    names: Mapping[str, int]
    ipv6: bool
    short: bool

    def fault(self, verdict: Verdict) -> str:
        """Why the verdict is wrong, or comes too late; empty where it is right."""
        return f"after {verdict.seconds:.1f} s" if verdict.seconds > SECONDS else self.misjudged(verdict)

    def misjudged(self, verdict: Verdict) -> str:
        """The same, however long it took."""
        if not self.codes:
            return f"finds {verdict.code} in what is healthy" if verdict.wrong else ""
        if verdict.code not in self.codes:
            return f"names {verdict.code or 'nothing'}"
        first = verdict.wrong[0]
        return "" if self.culprit in f"{first['subject']} {first['text']}" else f"blames {first['subject']}"


EXHIBITS: list[Exhibit] = []


def exhibit(
    name: str,
    *codes: str,
    culprit: str = "",
    needs: Sequence[str] = (),
    hosts: int = 0,
    behind: Mapping[int, int] | None = None,
    names: Mapping[str, int] | None = None,
    ipv6: bool = False,
    short: bool = False,
) -> Callable[[Callable[["Stage"], Verdict]], Callable[["Stage"], Verdict]]:
    """Adds a set-up to the gallery; see `Exhibit`."""

    def add(run: Callable[["Stage"], Verdict]) -> Callable[["Stage"], Verdict]:
        tools = (*needs, *(("netns",) if hosts else ()), *(("ipv6",) if ipv6 else ()))
        found = Exhibit(name, run, codes, culprit, tools, hosts, behind or {}, names or {}, ipv6, short)
        EXHIBITS.append(found)
        return run

    return add


class Stage(Network):
    """The files lie in `directory`. Sites are SLs with an ML stand-in; `ask` is `swarm doctor`."""

    def __init__(self, processes: Processes, directory: Path, hosts: Namespaces | None = None) -> None:
        super().__init__(processes, directory, hosts or ThisHost())
        self.identities |= make_workspace(directory / "cert", NAMES)
        self.net = hosts
        self._relays = False
        self._asked = 0

    # --- what it shows ----------------------------------------------------------------------------------------------

    def place(self, number: int) -> dict[str, str]:
        """See `Network`."""
        return {**super().place(number), **({"sn-relay-port": str(RELAY_PORT)} if self._relays else {})}

    def open_sn(self, *, relay: bool = False) -> Process:
        """One SN that orders alone; a relay, too, if so wished."""
        self._relays = relay
        sn = self.start(1, ordering="local")
        assert sn.ready
        return sn

    def start_sn_at(self, within: Sequence[str]) -> Process:
        """The same, run by a command that runs another in its place."""
        options: Options = {
            "node-name": "SN-1",
            "network-name": self.name,
            "ordering": "local",
            "data-dir": self.directory / "sn-1",
            **self.place(1),
            **identity_options(self.identities["SN-1"]),
        }
        self.sn = self.sns[1] = self.processes.node("SN-1", "sn", options, ["--sentinel"], within=within)
        assert self.sn.ready
        return self.sn

    def site(
        self,
        index: int,
        *ml: str,
        host: int = 1,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] | None = None,
        **changes: str | Path,
    ) -> Process:
        """Starts SL `index` with an ML stand-in on a host; one that is to train without end by default."""
        options = self.options(index, host, **changes)
        if "--relay" in flags:
            options.pop("host-ip")
        return self.processes.node(
            f"SL-{index}",
            "sl",
            options,
            flags,
            ml=["env", "-u", "LD_PRELOAD", *self.script(index, ml or self.forever)],  # its `time.sleep` fails there
            environment=environment,
            within=self.hosts.command(host) if within is None else within,
        )

    def options(self, index: int, host: int = 1, **changes: str | Path) -> Options:
        """Those of SL `index` on a host."""
        made: Options = {
            "sn-ip": self.hosts.address(1),
            "sn-api-port": str(self.ports[1]),
            "host-ip": self.hosts.address(host),
            "sl-fs-port": "0",
            "node-name": f"site-{index}",
            "data-dir": self.directory / f"sl-{index}",
            **identity_options(self.identities[f"SL-{index}"]),
        }
        return made | {name.replace("_", "-"): value for name, value in changes.items()}

    @property
    def forever(self) -> list[str]:
        """A script that holds before its third round: both sites of a pair have met by then."""
        gate = self.directory / "gate"
        if not gate.exists():
            self._gate = Gate(gate)
        return [*FOREVER, "--hold-at", "2", "--gate", str(gate)]

    def pair(self, first: int = 1, second: int = 1) -> list[Process]:
        """Two sites that train, on these hosts, seen by the SN."""
        sites = [self.site(1, host=first), self.site(2, host=second)]
        self.until_sites(2)
        return sites

    def until_sites(self, count: int) -> None:
        """So many sites have a part in the training, and the SN has seen the addresses of all."""

        def there(status: dict[str, Any]) -> bool:
            sls = [each for each in status["nodes"] if each["type"] == "SL" and each["alive"]]
            members = sum(len(each["members"]) for each in status["trainings"])
            return len(sls) >= count and members >= count and all(each["addresses"] for each in sls)

        self.until_status(1, there)

    def lost(self, name: str) -> None:
        """Waits until the SN has seen that a node is gone."""
        self.until_status(
            1, lambda status: any(each["name"] == name and each["state"] == "lost" for each in status["nodes"])
        )

    # --- the doctor -------------------------------------------------------------------------------------------------

    def doctor(
        self,
        *words: str | Path,
        identity: str = "SWCI-1",
        host: int = 1,
        sn: int = 1,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        **changes: str | Path,
    ) -> Verdict:
        """Asks it about the network, with an identity, on a host; `changes` are options."""
        options: Options = {
            "sn-ip": self.hosts.address(sn),
            "sn-api-port": str(self.ports[sn]),
            **identity_options(self.identities[identity]),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        named = [str(word) for option, value in options.items() if value for word in (f"--{option}", value)]
        return self.asked([*named, *words], host, environment, within)

    def why_not(self, kind: str, options: Mapping[str, str | Path], *flags: str, **more: Any) -> Verdict:
        """Asks it why the node of a command line does not start."""
        words = [str(word) for option, value in options.items() for word in (f"--{option}", value)]
        return self.asked(["--", "swarm", kind, *words, *flags], **more)

    def asked(
        self,
        words: Sequence[str | Path],
        host: int = 1,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> Verdict:
        """Runs `swarm doctor --json` with these words."""
        self._asked += 1
        variables = {"HOME": str(self.directory / "home"), **(environment or {})}
        prefix = [*self.hosts.command(host), *within]
        begun = time.monotonic()
        done = self.processes.start(
            f"doctor-{self._asked}", *prefix, *COMMAND, "doctor", "--json", *words, environment=variables
        )
        status = done.wait()
        wall = time.monotonic() - begun
        try:
            found = json.loads(done.output)
        except ValueError as error:
            raise AssertionError(f"the doctor has failed: {done.output}") from error
        assert status == int(bool(found["wrong"])), done.output
        return Verdict(found["wrong"], found["seconds"], wall, done.output)


def at_another_time(seconds: int) -> list[str]:
    """What runs a command whose clock is off by so many seconds."""
    faked = (f"LD_PRELOAD={libfaketime()}", f"FAKETIME={seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC=1")
    return ["env", *faked]
