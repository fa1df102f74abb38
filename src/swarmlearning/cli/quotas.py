"""The options that state an organisation's quotas, of `swarm organisation admit` and `swarm organisation quotas`."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer


@dataclass(frozen=True, kw_only=True)
class QuotaOptions:
    """Each None where it is not given."""

    nodes: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Nodes, without those that have left.")] = None
    contracts: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Contracts that it owns.")] = None
    tasks: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Tasks that it has made.")] = None
    taskrunners: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Taskrunners that it has created.")] = (
        None
    )
    transactions: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Transactions a second.")] = None
    ledger_bytes: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Bytes of transactions a second.")] = (
        None
    )
    entries: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="New entries of the ledger a day.")] = None
    connections: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Connections to one node.")] = None
    streams: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Block streams from one SN.")] = None
    requests: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Requests to one node a second.")] = None
    history_bytes: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Bytes of past blocks from one SN a second.")
    ] = None
    model_bytes: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Bytes of models from one SL a second.")
    ] = None

    @property
    def given(self) -> dict[str, int]:
        """The quotas that are given, by name."""
        return {name: amount for name, amount in asdict(self).items() if amount is not None}
