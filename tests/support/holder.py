"""A file server in a process of its own, which can stop sending in the middle, to be killed there.

Writes its port on a line, and `stalled` on another.
"""

import asyncio
import sys
from pathlib import Path

from starlette.types import Message, Receive, Scope, Send

from swarmlearning.api.server import Server
from swarmlearning.identity.tls import server_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.transport.loop import run


async def serve(workspace: Path, name: str, host: str, store: Path, stall: int) -> None:
    """Serves `store` as this node at the address `host`; sends no more than about `stall` bytes of an answer."""
    files = file_app(TensorStore(store), lambda thumbprint, digest, chunks: True, compress_below=2**30)

    async def stalling(scope: Scope, receive: Receive, send: Send) -> None:
        sent = 0

        async def counted(message: Message) -> None:
            nonlocal sent
            await send(message)
            sent += len(message.get("body", b""))
            if sent >= stall:
                print("stalled", flush=True)
                await asyncio.Event().wait()

        await files(scope, receive, counted)

    server = Server(stalling, server_context(Workspace(workspace).identity(name)), host, 0)
    await server.start()
    print(server.port, flush=True)
    await server.wait()


if __name__ == "__main__":
    run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5])))
