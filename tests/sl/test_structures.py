"""The structure of this site's model, with the roles of its tensors where a session uses them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from support.roundnode import SETTINGS
from swarmlearning.channel.address import connect
from swarmlearning.channel.framing import LENGTH, decode_from_ml, decode_from_sl, encode
from swarmlearning.channel.messages import Failed, Open, OuterOptimizer, TensorSpec
from swarmlearning.choices import Role
from swarmlearning.merge.merging import Source, TooFewModels, merge
from swarmlearning.models.store import TensorStore
from swarmlearning.rounds.events import SessionRequested
from swarmlearning.sl.checking import fault_of_result
from swarmlearning.sl.mlside import MLEvent, MLSide
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.sl.structures import KnownStructure
from swarmlearning.tensors.file import Tensor, write
from swarmlearning.tensors.structure import Structure, structure_digest

SPECS = (("count", "I64", ()), ("w", "F32", (4,)))
NESTEROV = OuterOptimizer("nesterov", "0.7", "0.9")
WITH_ROLES = Structure(SPECS, {"count": "buffer", "w": "parameter"})


def opening(count: Role = "", w: Role = "") -> Open:
    tensors = (TensorSpec(*SPECS[0], count), TensorSpec(*SPECS[1], w))
    return Open("training", 1, 2, "mean", "snapshot", 1, False, 1, "PYTORCH", tensors)


class Site:
    def __init__(self, folder: Path) -> None:
        self.events: asyncio.Queue[MLEvent] = asyncio.Queue()
        store = TensorStore(folder / "models")
        self.ml = MLSide(folder, 1, SETTINGS, store, self.events.put_nowait, Stopwatch())

    async def requested(self, message: Open) -> str:
        """The structure of the session that the message makes it request; else what it answers."""
        with connect(self.ml.channel.path) as script:
            reader, writer = await asyncio.open_unix_connection(sock=script)
            writer.write(encode(message))
            waiting = asyncio.create_task(self.events.get())
            answer = asyncio.create_task(reader.read())
            await asyncio.wait((waiting, answer), return_when=asyncio.FIRST_COMPLETED)
            writer.close()
            if not waiting.done():
                waiting.cancel()
                failed = decode_from_sl((await answer)[LENGTH.size :])
                assert isinstance(failed, Failed)
                return failed.message
            answer.cancel()
            requested = waiting.result()
            assert isinstance(requested, SessionRequested)
            return requested.session.structure


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await made.ml.channel.start()
    yield made
    await made.ml.channel.stop()


async def test_roles_do_not_count_where_merges_do_not_depend_on_them(site: Site) -> None:
    assert await site.requested(opening("buffer", "parameter")) == structure_digest(SPECS)
    assert site.ml.known.path.read_text() == '"count" I64 []\n"w" F32 [4]\n'


async def test_roles_are_in_the_structure_of_a_training_whose_merges_are_stepped(site: Site) -> None:
    stepped = msgspec.structs.replace(opening("buffer", "parameter"), outer=NESTEROV)
    assert await site.requested(stepped) == WITH_ROLES.digest != structure_digest(SPECS)
    assert site.ml.known.path.read_text() == '"count" I64 [] buffer\n"w" F32 [4] parameter\n'


async def test_a_session_that_states_the_roles_of_some_tensors_is_refused(site: Site) -> None:
    text = "the roles of these tensors are not stated, though those of others are: 'count'"
    assert await site.requested(opening(w="parameter")) == text
    assert site.ml.session is None


async def test_an_outer_optimizer_needs_roles_and_numbers_that_the_ledger_takes(site: Site) -> None:
    unstated = msgspec.structs.replace(opening(), outer=NESTEROV)
    assert "install the same version" in await site.requested(unstated)
    stepped = msgspec.structs.replace(opening("buffer", "parameter"), outer=NESTEROV)
    odd = msgspec.structs.replace(stepped, outer=OuterOptimizer("nesterov", "0.70", "0.9"))
    assert "outerOptimizer: " in await site.requested(odd)
    assert await site.requested(stepped) == WITH_ROLES.digest


def test_a_message_from_before_there_were_roles_states_none() -> None:
    old = msgspec.json.decode(encode(opening())[LENGTH.size :])
    assert all("role" not in tensor for tensor in old["structure"])
    read = decode_from_ml(msgspec.json.encode(old))
    assert isinstance(read, Open)
    assert read.roles == {}


def test_roles_are_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "structure.txt"
    assert KnownStructure(path).roles(WITH_ROLES.digest) == {}
    first = KnownStructure(path)
    first.learn(WITH_ROLES, WITH_ROLES.digest)
    for known in (first, KnownStructure(path)):
        assert known.roles(WITH_ROLES.digest) == WITH_ROLES.roles
        assert known.roles(structure_digest(SPECS)) == known.roles("") == {}
    path.write_text(path.read_text()[:-12])  # a crash has cut it
    assert KnownStructure(path).roles(WITH_ROLES.digest) == {}


def model(path: Path, value: float) -> Path:
    arrays = {"count": np.array(3), "w": np.full(4, value, np.float32)}
    write(path, {name: Tensor.of(array, name) for name, array in arrays.items()})
    return path


def test_models_fit_a_structure_with_roles_by_the_roles_that_this_site_knows(tmp_path: Path) -> None:
    sources = [Source(uid, 1, model(tmp_path / uid, value)) for uid, value in (("a", 1.0), ("b", 3.0))]
    out, roles = tmp_path / "out", WITH_ROLES.roles
    assert merge("mean", sources, None, out, structure=WITH_ROLES.digest, roles=roles).contributors == ("a", "b")
    assert fault_of_result(out, WITH_ROLES.digest, None, None, roles) == ""
    assert fault_of_result(out, structure_digest(SPECS), None) == ""
    assert fault_of_result(out, WITH_ROLES.digest, None) == "its structure is not that of this training"
    with pytest.raises(TooFewModels):
        merge("mean", sources, None, out, structure=WITH_ROLES.digest, roles={**roles, "w": "frozen"})
