"""Many sites in one process: SL nodes, each with its participant in a thread that begins a round at each line it reads.

The nodes are whole: each has its certificate, data directory, file server, local channel, heartbeat and verified chain.
What they share is the interpreter, and with it what it remembers: the signature of a transaction is checked once for
all of them. The participants are those of `participant.py`, without a process of their own.
"""

import argparse
import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from launch import HOST
from participant import Done, Participant
from swarmlearning.identity.source import Latest
from swarmlearning.identity.workspace import Workspace
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.sl.node import run_sl
from swarmlearning.sl.settings import SlSettings
from swarmlearning.transport.loop import run

QUORUM_SECONDS = 30.0


async def run_sites(names: Sequence[str], folder: Path, sn: str, peers: int, size: int, link: socket.socket) -> None:
    """Runs the sites until the link ends. Raises what ends a node before."""
    workspace = Workspace(folder / "cert")
    loop = asyncio.get_running_loop()
    reported: dict[str, asyncio.Future[dict[str, str]]] = {name: loop.create_future() for name in names}
    async with asyncio.TaskGroup() as tasks:
        nodes = [
            tasks.create_task(run_sl(_settings(name, folder, sn), Latest(workspace.identity(name)), facts.set_result))
            for name, facts in reported.items()
        ]
        paths = {name: Path((await facts)["channel"]) for name, facts in reported.items()}
        with ThreadPoolExecutor(len(names)) as threads:
            await _serve(threads, paths, peers, size, link)
        for node in nodes:
            node.cancel()


async def _serve(
    threads: ThreadPoolExecutor, paths: dict[str, Path], peers: int, size: int, link: socket.socket
) -> None:
    """Opens the sessions, then makes a round of all participants for each line."""
    loop = asyncio.get_running_loop()
    makers = [partial(Participant, path, peers, size, int(name.rpartition("-")[2])) for name, path in paths.items()]
    participants = await asyncio.gather(*(loop.run_in_executor(threads, maker) for maker in makers))
    reader, writer = await asyncio.open_unix_connection(sock=link)
    writer.write(b"open\n")
    while await reader.readline():
        done = await asyncio.gather(*(loop.run_in_executor(threads, one.round) for one in participants))
        writer.write(msgspec.json.encode(_first_to_last(done)) + b"\n")


def _first_to_last(done: Sequence[Done]) -> Done:
    """From the first hand-over to the last merged model; not a number when they do not all hold the same one."""
    samples = {one.sample for one in done}
    sample = samples.pop() if len(samples) == 1 else float("nan")
    return Done(min(one.begin for one in done), max(one.end for one in done), sample)


def _settings(name: str, folder: Path, sn: str) -> SlSettings:
    rounds = RoundSettings(
        make_me_admin=True, full_quorum_seconds=QUORUM_SECONDS, leader_failure_seconds=600.0, initial="merged"
    )
    return SlSettings(
        name,
        HOST,
        fs_port=0,
        fs_service="",
        sn_address=sn,
        data_dir=folder / name,
        rounds=rounds,
        compress_below=0,
        command=(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where certificates are and data goes")
    parser.add_argument("--sn", required=True, help="the SN's API, HOST:PORT")
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--link", type=int, required=True, help="descriptor of the inherited socket")
    parser.add_argument("names", nargs="+", help="SL-1 SL-2 …")
    options = parser.parse_args()
    link = socket.socket(fileno=options.link)
    run(run_sites(options.names, options.folder, options.sn, options.peers, options.size, link))


if __name__ == "__main__":
    main()
