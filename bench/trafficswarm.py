"""Rounds of six sites in one process, with the project's own merging, outer steps and coding on real model files.

Only the network is left out: what a site would send and receive is counted, as bytes of files. All sites train the same
number of batches whatever the number of rounds, from one start, each on its own data and with its own optimizer, whose
state it keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from swarmlearning.choices import Transfer
from swarmlearning.merge.back import code_model
from swarmlearning.merge.carry import carry
from swarmlearning.merge.changes import Coding, coding_of
from swarmlearning.merge.encoding import Residual, encode_change
from swarmlearning.merge.merging import Source, merge
from swarmlearning.merge.outer import Outer
from swarmlearning.merge.stepping import take_step
from swarmlearning.tensors.file import Tensor, read, read_header, write
from traffictask import SITES, Data, Task, loss_of

OUTER = Outer("nesterov", 0.7, 0.9)
LATE_EVERY = 3  # rounds
MEASURED = 12  # times that the merged model is measured, about


class Way(NamedTuple):
    """How sites exchange what they learn. `fewer`: batches of an interval, as a multiple of the task's."""

    outer: bool = False
    transfer: Transfer = "float32"
    back: Transfer = "float32"
    feedback: bool = True
    late: bool = False
    fewer: int = 1

    @property
    def name(self) -> str:
        parts = ["outer" if self.outer else "mean", f"{self.transfer}/{self.back}"]
        parts += [f"1/{self.fewer} of the rounds"] * (self.fewer > 1)
        parts += ["no feedback"] * (not self.feedback) + ["a site late"] * self.late
        return ", ".join(parts)


class Point(NamedTuple):
    """The bytes that a site has sent and received until then, in the mean; and the figure of the merged model."""

    sent: int
    received: int
    figure: float


@dataclass
class Course:
    """What a training has come to, now and then and at its end. The bytes of round 0, in which all give a whole model
    and get one, are not among those of the points: they are `first`."""

    first: int = 0
    points: list[Point] = field(default_factory=list)


def train(task: Task, way: Way, seed: int, folder: Path) -> Course:
    """One training, its files in `folder`."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model, data = task.build(), task.data(seed)
    swarm = _Swarm(task, way, model, data, seed, folder)
    course, rounds = Course(first=2 * swarm.size), task.batches // (task.interval * way.fewer)
    sent = received = 0
    for number in range(1, rounds + 1):
        given, taken = swarm.round(number)
        sent, received = sent + given, received + taken
        if number % max(1, rounds // MEASURED) == 0 or number == rounds:
            course.points.append(Point(sent // SITES, received, task.measure(swarm.merged(), data.test)))
    return course


class _Swarm:
    def __init__(self, task: Task, way: Way, model: nn.Module, data: Data, seed: int, folder: Path) -> None:
        self._task, self._way, self._data, self._model = task, way, data, model
        self._folder = folder
        self._result = self._path("result-0")
        _save(model, self._result)
        self.size = self._result.stat().st_size
        header, buffers = read_header(self._result), [name for name, _ in model.named_buffers()]
        self._codings: dict[Transfer, Coding] = {
            each: coding_of(each, header, buffers) for each in (way.transfer, way.back) if each != "float32"
        }
        self._parameters = {name for name, each in model.named_parameters() if each.requires_grad}
        self._sites = [_Site(task, at, seed, each) for at, each in enumerate(data.sites)]
        self._momentum: Path | None = None

    def round(self, number: int) -> tuple[int, int]:
        """One round; the bytes that all sites have sent, and that each has received."""
        moved, sources, late = 0, [], self._late(number)
        for at, site in enumerate(self._sites):
            if site.rest is not None:  # it waits with what came too late for the round before
                trained, base = site.rest
                given = self._path(f"carried-{at}")
                carry(trained, base, self._result, given, 1, lambda size: None)
                site.rest = None
            else:
                given = self._path(f"trained-{at}-{number}")
                _load(self._model, self._result)
                site.train(self._model, self._task.interval * self._way.fewer)
                _save(self._model, given)
            path, sent = self._coded(site, at, number, given, kept=at != late)
            moved += sent
            if at == late:
                site.rest = (given, self._result)
            else:
                sources.append(Source(f"site-{at}", 1, path, self._codings.get(self._way.transfer)))
        return moved, self._merge(number, sources)

    def merged(self) -> nn.Module:
        """The model that all sites hold."""
        _load(self._model, self._result)
        return self._model

    def _late(self, number: int) -> int | None:
        return number // LATE_EVERY % SITES if self._way.late and number % LATE_EVERY == 0 else None

    def _coded(self, site: "_Site", at: int, number: int, given: Path, *, kept: bool) -> tuple[Path, int]:
        """What a site sends, and its bytes; `kept`: what coding leaves out of it is added to the next change."""
        coding = self._codings.get(self._way.transfer)
        if coding is None:
            return given, self.size
        out, after = self._path(f"change-{at}"), self._path(f"residual-{at}-{number % 2}")
        residual = Residual(site.residual, after) if self._way.feedback else None
        encode_change(coding, given, self._result, out, residual=residual)
        if kept and residual:
            site.residual = after
        return out, out.stat().st_size

    def _merge(self, number: int, sources: list[Source]) -> int:
        """The next result; its bytes as each site receives it."""
        base, merged, received = self._result, self._path(f"merged-{number % 2}"), self.size
        merge("mean", sources, base, merged)
        if (coding := self._codings.get(self._way.back)) is not None:
            change = self._path("back")
            code_model(coding, base, merged, change)  # and what that stands for is the merge
            received = change.stat().st_size
        self._result = self._path(f"result-{number % 3}")
        if self._way.outer:
            self._step(number, base, merged)
        else:
            self._result.write_bytes(merged.read_bytes())
        return received

    def _step(self, number: int, base: Path, merged: Path) -> None:
        after = self._path(f"momentum-{number % 2}")
        fault = take_step(OUTER, base, self._momentum, merged, self._parameters, self._result, after)
        assert not fault, fault
        self._momentum = after

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


class _Site:
    """Its data, in an order of its own, and its optimizer's state."""

    def __init__(self, task: Task, at: int, seed: int, data: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._task, self._data = task, data
        self._chance = np.random.default_rng((seed, at))
        self._order: list[int] = []
        self._state: Mapping[str, object] | None = None
        self.residual: Path | None = None
        self.rest: tuple[Path, Path] | None = None

    def train(self, model: nn.Module, batches: int) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=self._task.rate, fused=True)
        if self._state is not None:
            optimizer.load_state_dict(dict(self._state))
        model.train()
        for _ in range(batches):
            rows = self._next()
            optimizer.zero_grad()
            loss_of(model(self._data[0][rows]), self._data[1][rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self._state = optimizer.state_dict()

    def _next(self) -> list[int]:
        if len(self._order) < self._task.batch:
            self._order += self._chance.permutation(len(self._data[0])).tolist()
        rows, self._order = self._order[: self._task.batch], self._order[self._task.batch :]
        return rows


def _save(model: nn.Module, path: Path) -> None:
    write(path, {name: Tensor.of(each.detach().numpy(), name) for name, each in model.state_dict().items()})


def _load(model: nn.Module, path: Path) -> None:
    found = read(path)
    model.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in found.items()})
