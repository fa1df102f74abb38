"""`swarm sn recover`: restarts a network from one SN, or writes the file that other organisations have to sign."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from swarmlearning.cli.running import run_to_the_end
from swarmlearning.errors import UserError
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.bodies import AddAuthority, Anchor
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.recoveryfile import RecoveryFile
from swarmlearning.sn import recovering


@dataclass(frozen=True)
class Recovering:
    """The SN of this data directory is to go on alone; `proposal` is where the file is written that others sign."""

    place: DataDirectory
    identity: Identity
    proposal: Path
    confirmed: bool

    def run(self, anchors: Sequence[str], signed: Sequence[Path]) -> None:
        """Recovers, or writes the file. Raises `UserError`, and `typer.Abort` when the operator does not confirm."""
        files = [RecoveryFile.read(path) for path in signed]
        added = list(files[0].authorities if files else map(_added, anchors))
        found = run_to_the_end(recovering.survey(self.place, self.identity, added))
        agreed = found.file()
        if files and files[0].signed_bytes != agreed.signed_bytes:
            raise UserError(
                f"{signed[0]} was made for block {files[0].height} of {files[0].by.name}, and this SN would go on from "
                f"block {agreed.height} ({agreed.block[:16]}): run `swarm sn recover` without --signed for a new file"
            )
        agreed = agreed.joined(files)
        print(found.text())
        if lacking := found.lacks(agreed, self.identity):
            self._request_signatures(agreed, lacking)
            return
        if not self.confirmed:
            typer.confirm("Go on?", abort=True)
        height = run_to_the_end(recovering.recover(self.place, self.identity, found, agreed))
        print(f"Recorded in block {height}. Start this SN again; other SNs may then join through it.")

    def _request_signatures(self, agreed: RecoveryFile, lacking: str) -> None:
        if agreed.consents:
            raise UserError(f"{lacking}. Nothing was changed")
        if self.proposal.exists():
            raise UserError(
                f"{self.proposal} exists already, perhaps with signatures; name another file with --proposal"
            )
        agreed.write(self.proposal)
        print(
            f"Nothing was changed: {lacking}.\n"
            f"{self.proposal} is for their operators, who sign it with: swarm proposal sign --file {self.proposal}\n"
            f"Leave this SN stopped. With enough signatures run: swarm sn recover --signed {self.proposal}, with the "
            "same option for each signed copy"
        )


def _added(text: str) -> AddAuthority:
    """The authority that an option names; without an organisation, one of the SN's own."""
    organisation, equals, path = text.partition("=")
    file = Path(path if equals else text)
    try:
        return AddAuthority(organisation if equals else "", Anchor(file.read_text(encoding="ascii")))
    except OSError as error:
        raise UserError(f"--anchor {file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--anchor {file}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from error
