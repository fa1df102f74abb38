"""The options of every command of an operator, which talks to the network through an SN."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.options import Credentials, DataDir, NetworkId, data_directory, sn_address
from swarmlearning.identity.certificates import spiffe_id

VERIFIED = "verified"
"""Folder in an operator's data directory: what has been verified of each network."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The SN that a command connects to, with which identity, and the file of the operator's UID."""

    sn_ip: Annotated[str, typer.Option(help="Address of any SN of the network.")] = "127.0.0.1"
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304
    network_id: NetworkId = ""
    data_dir: DataDir = None
    credentials: Credentials

    @property
    def address(self) -> str:
        """The SN's API. Raises `AddressError`."""
        return sn_address(self.sn_ip, self.sn_api_port)

    @property
    def directory(self) -> Path:
        """The operator's data directory. Raises `NodeError` where there is no default."""
        return data_directory(self.data_dir, "operator")

    @property
    def home(self) -> Path:
        """The folder of the UID of whoever acts: by default one of each identity's own, below `directory`.

        Raises `NodeError` where there is no default, `CertificateError` for a certificate that cannot be used.
        """
        if self.data_dir is not None:
            return self.directory
        leaf = self.credentials.identity().certificate
        own_id = spiffe_id(leaf)  # beside it the names in a certificate say nothing: SPIRE gives all the same
        named = own_id.encode() if own_id else leaf.issuer.public_bytes() + leaf.subject.public_bytes()
        return self.directory / hashlib.sha256(named).hexdigest()[:16]
