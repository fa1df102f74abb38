"""The time in which a model comes through a relay, beside that in which it comes from the same file server directly.

Three processes on this machine: an SN's relay, an SL's file server, and the one that fetches. Each time is that of a
whole fetch over a connection that is open already: digests checked, the file written. Both ways take turns.
"""

import argparse
import contextlib
import multiprocessing
import os
import statistics
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from launch import HOST, make_identities
from machine import MEGABYTE, cpu_seconds, run_benchmark
from swarmlearning.address import join
from swarmlearning.api.server import Server
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.models.connections import Source
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.relay.callee import Callee
from swarmlearning.relay.relay import Relay
from swarmlearning.transport.loop import run
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import unlimited

UID = "00000000-0000-4000-8000-000000000001"
AT_MOST = 2.5
"""Times as long as directly: what a relay may cost at most on one machine."""


class Outcome(msgspec.Struct, frozen=True):
    """Seconds, medians; `relay_cpu_s`: CPU time of the relay's process for one model. The line that `--json` prints."""

    mb: int
    repeats: int
    direct_s: float
    relayed_s: float
    ratio: float
    relay_cpu_s: float


class Everybody:
    """A relay's registry without a ledger."""

    share_of = staticmethod(unlimited)

    def fault(self, credential: Credential) -> str:
        return ""

    def owns(self, credential: Credential, uid: str) -> bool:
        return True

    def turn(self, credential: Credential, size: int) -> float:
        return 0.0


async def measure(folder: Path, mb: int, repeats: int) -> Outcome:
    """Fetches a model of `mb` megabytes both ways, `repeats` times after the first."""
    workspace = make_identities(folder / "cert", ["SN-1", "SL-1", "SL-2"])
    (folder / "model").write_bytes(os.urandom(MEGABYTE) * mb)
    digest = (await TensorStore(folder / "SL-1").adopt(folder / "model")).root
    with (
        _running(_relay, workspace.root) as (relay, relay_pid),
        _running(_files, workspace.root, folder / "SL-1", relay) as (files, _),
    ):
        ways: dict[str, Source] = {"direct": (HOST, files), "relayed": (HOST, relay, UID)}
        times: dict[str, list[float]] = {way: [] for way in ways}
        stores = {way: TensorStore(folder / way) for way in ways}
        fetchers = {way: Fetcher(client_context(workspace.identity("SL-2")), stores[way]) for way in ways}
        spent = 0.0
        for _ in range(repeats + 1):
            for way, source in ways.items():
                before, begin = cpu_seconds(relay_pid), perf_counter()
                await fetchers[way].fetch(digest, [source])
                times[way].append(perf_counter() - begin)
                spent += cpu_seconds(relay_pid) - before
                stores[way].forget(digest)
        for fetcher in fetchers.values():
            await fetcher.close()
    direct, relayed = (statistics.median(found[1:]) for found in times.values())
    rounded = (round(each, 6) for each in (direct, relayed, relayed / direct, spent / (repeats + 1)))
    return Outcome(mb, repeats, *rounded)


async def _relay(link: Connection, root: Path) -> None:
    relay = Relay(server_context(Workspace(root).identity("SN-1")), Everybody())
    link.send(await relay.start(HOST, 0))
    await relay.wait()


async def _files(link: Connection, root: Path, store: Path, relay: int) -> None:
    """Serves on a port and through the relay."""
    identity = Workspace(root).identity("SL-1")
    server = Server(
        file_app(TensorStore(store), lambda thumbprint, digest, chunks: True), server_context(identity), HOST, 0
    )
    await server.start()
    callee = Callee(client_context(identity), UID, server.adopt, lambda credential: "")
    async with callee.kept(join(HOST, relay)) as kept:
        link.send(server.port)
        await kept


def _run(work: Callable[..., Coroutine[Any, Any, None]], link: Connection, *arguments: object) -> None:
    run(work(link, *arguments))


@contextlib.contextmanager
def _running(work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> Iterator[tuple[int, int]]:
    """Another process that works until the block ends; the port that it reports, and its process ID."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(work, theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            yield ours.recv(), process.pid or 0
    finally:
        process.kill()
        process.join()


def table(outcome: Outcome) -> str:
    """For people."""
    return "\n".join(
        [
            f"{outcome.mb} MB, median of {outcome.repeats}",
            "",
            f"  directly             {outcome.direct_s:8.3f} s",
            f"  through a relay      {outcome.relayed_s:8.3f} s   {outcome.ratio:.2f} x, at most {AT_MOST:g} x",
            f"  CPU time of the relay{outcome.relay_cpu_s:8.3f} s",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100, help="size of the model, 10^6 bytes (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="(default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a line of JSON instead of a table")
    options = parser.parse_args()
    if min(options.mb, options.repeats) < 1:
        parser.error("a fetch needs at least 1 MB and 1 repeat")
    outcome = run_benchmark("bench-relay", partial(measure, mb=options.mb, repeats=options.repeats))
    print(msgspec.json.encode(outcome).decode() if options.json else table(outcome))


if __name__ == "__main__":
    main()
