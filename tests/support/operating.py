"""Operators of a swarm of real processes: each command is a process too."""

from pathlib import Path

from support.processes import COMMAND, Process
from support.swarm import Swarm, identity_options


class Operator:
    """Runs `swarm …` commands as the operator of a swarm, each to its end."""

    def __init__(self, swarm: Swarm, identity: str = "SWCI-1") -> None:
        self._swarm = swarm
        self._identity = swarm.identities[identity]
        self._name = identity
        self._commands = 0

    def run(self, *words: str | Path) -> Process:
        """Runs this command."""
        self._commands += 1
        started = self._swarm.processes.start(f"{self._name}-{self._commands}", *self.command(*words))
        started.wait()
        return started

    def command(self, *words: str | Path) -> list[str | Path]:
        """This command with the options of this operator."""
        host, _, port = self._swarm.address.rpartition(":")
        options: dict[str, str | Path] = {
            "sn-ip": host,
            "sn-api-port": port,
            "data-dir": self._swarm.directory / f"operator-{self._name}",
            **identity_options(self._identity),
        }
        named = [word for option, value in options.items() for word in (f"--{option}", value)]
        return [*COMMAND, *words, *named]

    def does(self, *words: str | Path) -> str:
        """The output of this command prints; it succeeds."""
        done = self.run(*words)
        assert done.wait() == 0, done.output
        return done.output

    def fails(self, *words: str | Path) -> str:
        """The output of this command, which is refused."""
        done = self.run(*words)
        assert done.wait() == 1, done.output
        assert "Traceback" not in done.output
        return done.output
