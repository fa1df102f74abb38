"""An ML process that sends messages out of order: the SL's end of the channel, with a real round machine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from support.play import Play
from support.roundnode import SETTINGS
from swarmlearning.channel.address import connect
from swarmlearning.channel.framing import LENGTH, decode_from_sl, encode
from swarmlearning.channel.messages import Evaluated, Failed, FromML, Open, Sync, TensorSpec
from swarmlearning.models.store import TensorStore
from swarmlearning.rounds.events import Event, MLDisconnected
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.sl.mlside import MLSide
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.tensors.file import Tensor, write

OPEN = Open(
    training_contract="training",
    sync_frequency=1,
    min_peers=2,
    merge_method="mean",
    checkin_model_on_train_end="snapshot",
    node_weightage=1,
    use_adaptive_sync=False,
    total_epochs=1,
    ml_platform="PYTORCH",
    structure=(TensorSpec("w", "F32", (4,)),),
)


class Site:
    """The ML side of an SL, its machine, and the events that this has handled."""

    def __init__(self, directory: Path) -> None:
        self.machine = RoundMachine("a", 1, Play("b").state, SETTINGS)
        self.events: list[Event] = []
        self.ml = MLSide(directory, 1, SETTINGS, TensorStore(directory / "models"), self.handle, Stopwatch())

    def handle(self, event: Event) -> None:
        self.machine.handle(event, 0.0)
        self.events.append(event)

    def write_model(self, name: str) -> None:
        write(self.ml.channel.file(name), {"w": Tensor.of(np.ones(4, np.float32), "w")})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await made.ml.channel.start()
    yield made
    await made.ml.channel.stop()


SYNC = Sync("1-1", 1, "trained.safetensors")
EVALUATED = Evaluated("1-1", 1, 0.5, None, 1, 1)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (SYNC, "Sync came out of order: ModelReceived is not possible in phase Joining of the ML process"),
        (EVALUATED, "Evaluated came out of order: Evaluated is not possible in phase Joining of the ML process"),
    ],
)
async def test_a_message_before_the_session_is_open_ends_the_channel_with_the_reason(
    site: Site, message: FromML, text: str
) -> None:
    site.write_model(SYNC.file)
    with connect(site.ml.channel.path) as script:
        reader, writer = await asyncio.open_unix_connection(sock=script)
        writer.write(encode(OPEN) + encode(message))
        received = await reader.read()
        writer.close()
    assert decode_from_sl(received[LENGTH.size :]) == Failed(text)
    assert isinstance(site.events[-1], MLDisconnected)
