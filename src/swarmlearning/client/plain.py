"""Swarm learning for plain functions: a training loop in NumPy, JAX or anything else whose parameters are arrays."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from swarmlearning.choices import CheckinMode, MergeMethod, OuterMethod
from swarmlearning.client import parameters as known
from swarmlearning.client.arrays import like, tensor_of
from swarmlearning.client.base import SwarmCallbackBase
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.nested import leaves, rebuilt
from swarmlearning.client.patterns import checked, matched
from swarmlearning.tensors.file import Array, Tensor
from swarmlearning.tensors.structure import Roles

P = TypeVar("P")

Evaluate: TypeAlias = Callable[[P], "float | tuple[float | None, float | None]"]
"""Parameters to their loss on validation data (smaller is better), or to loss and metric."""


class Swarm(AbstractContextManager["Swarm[P]"], Generic[P]):
    """A training loop that is a member of a swarm.

        with Swarm(parameters, sync_frequency=100, min_peers=3) as swarm:
            parameters = swarm.parameters  # all sites start from the same
            for batch in batches:
                parameters = update(parameters, batch)
                parameters = swarm.step(parameters)
        parameters = swarm.parameters  # the swarm's

    `parameters` are arrays (NumPy, JAX, or others of the array API standard) and numbers in dicts, lists and tuples,
    nested as you like. They are never changed in place: after a merge `step` returns new ones of the same kind,
    otherwise what it was given.

    Entering the block merges the sites' first parameters. Leaving it waits until training is over everywhere and loads
    the final ones; when it is left by an exception, the swarm goes on without this site. Everything raises `SwarmError`
    when training cannot go on. The environment is that of `SwarmCallbackBase`: with `SWARM_LOOPBACK=True` the same loop
    runs without a swarm.

    sync_frequency: steps from one merge to the next.
    min_peers: number of sites needed for a merge.
    training_contract: name of the training that all sites join.
    total_epochs: epochs planned, for showing progress.
    checkin_model_on_train_end: what this site contributes after its own training, while others still train:
        "snapshot" its own last parameters, "active" the last merged ones, "inactive" nothing. Default: "snapshot",
        with an outer optimizer "inactive".
    node_weightage: this site's weight in a merge, 1 to 100.
    training_samples: the number of this site's training samples; its weight where the contract weighs by them.
    merge_method: "mean", "coordmedian" or "geomedian"; the same at all sites.
    outer_optimizer: "nesterov" or "adam": a merge is the direction of one step, for fewer rounds of more batches each;
        the same at all sites. State `buffers` then, if there are any.
    outer_learning_rate, outer_momentum: of that step; default 0.7 and 0.9, for "adam" 0.01 and 0.9.
    evaluate: called with merged parameters; returns the loss on validation data, or (loss, metric).
    use_adaptive_sync: let the swarm choose the steps between merges by the mean loss.
    buffers: patterns of the names (as "batch_stats.*") of arrays that training changes otherwise than by
        gradients, such as running statistics. They are merged; an outer optimizer does not step them.
    local_layers: patterns of the names of arrays that stay this site's own: never sent, never replaced by merged ones.
    logger: default is one of its own, to stdout.
    """

    parameters: P
    """The newest: merged ones, or those of the last step."""

    def __init__(
        self,
        parameters: P,
        *,
        sync_frequency: int,
        min_peers: int,
        training_contract: str = known.DEFAULT_CONTRACT,
        total_epochs: int | None = None,
        checkin_model_on_train_end: CheckinMode | None = None,
        node_weightage: int = 1,
        training_samples: int | None = None,
        merge_method: MergeMethod = "mean",
        outer_optimizer: OuterMethod | Literal["none"] = "none",
        outer_learning_rate: float | str | None = None,
        outer_momentum: float | str | None = None,
        evaluate: Evaluate[P] | None = None,
        use_adaptive_sync: bool = False,
        buffers: Sequence[str] = (),
        local_layers: Sequence[str] = (),
        logger: logging.Logger | None = None,
    ) -> None:
        """Opens the session with the SL node."""
        if use_adaptive_sync and evaluate is None:
            raise SwarmError("use_adaptive_sync needs evaluate: the mean loss decides the interval")
        self.parameters = parameters
        self._entered = False
        self._evaluate = evaluate
        named = {
            "checkinModelOnTrainEnd": checkin_model_on_train_end,
            "outerLearningRate": outer_learning_rate,
            "outerMomentum": outer_momentum,
        }
        self._callback = _Callback(
            sync_frequency,
            min_peers,
            training_contract,
            swarm=self,
            totalEpochs=total_epochs,
            nodeWeightage=node_weightage,
            trainingSamples=training_samples,
            mergeMethod=merge_method,
            outerOptimizer=outer_optimizer,
            adsValData=evaluate,
            useAdaptiveSync=use_adaptive_sync,
            buffers=buffers,
            localLayers=local_layers,
            logger=logger,
            **{name: value for name, value in named.items() if value is not None},
        )

    @property
    def training_over(self) -> bool:
        """True once the swarm's training is over: later steps are not merged any more, a loop may stop early."""
        return self._callback.training_over

    def step(self, parameters: P, samples: int = 0) -> P:
        """Call after every step of training with its result; go on from what is returned.

        `samples` is the number of samples in the step, to show the speed.
        """
        self._require_entered("step")
        self.parameters = parameters
        self._callback.on_batch_end(logs={"size": samples})
        return self.parameters

    def end_epoch(self) -> None:
        """Call after every epoch, if there are epochs; counts it, for showing progress."""
        self._require_entered("end_epoch")
        self._callback.on_epoch_end()

    def evaluate(self) -> tuple[float | None, float | None]:
        """Returns loss and metric of `parameters` by the function given; None where there is none."""
        result = None if self._evaluate is None else self._evaluate(self.parameters)
        loss, metric = result if isinstance(result, tuple) else (result, None)
        return _number(loss), _number(metric)

    def _require_entered(self, method: str) -> None:
        if not self._entered:
            raise SwarmError(f"{method}() was called outside the block of `with Swarm(...) as swarm:`")

    def __enter__(self) -> "Swarm[P]":
        self._callback.on_train_begin()
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._callback.on_train_end()
        else:
            self._callback.abandon(f"{kind.__name__}: {error}")


class _Callback(SwarmCallbackBase):
    """The life cycle of a callback on the parameters that a `Swarm` holds."""

    ml_platforms = ("PLAIN",)
    platform_keywords = frozenset({"buffers", "swarm"})

    def _prepare(self, options: Mapping[str, Any]) -> None:
        self._swarm: Swarm[Any] = options["swarm"]
        self._buffers = checked("buffers", options["buffers"])

    def _model_tensors(self) -> dict[str, Tensor]:
        return {name: tensor_of(leaf, name) for name, leaf in leaves(self._swarm.parameters).items()}

    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        self._swarm.parameters = rebuilt(self._swarm.parameters, lambda name, leaf: like(leaf, arrays[name]))

    def _roles(self) -> Roles:
        names = leaves(self._swarm.parameters).keys()
        buffers = matched("buffers", self._buffers, names)
        return {name: "buffer" if name in buffers else "parameter" for name in names}

    def _evaluate(self) -> tuple[float | None, float | None]:
        return self._swarm.evaluate()


def _number(value: Any) -> float | None:
    """Converts a loss, which may be any scalar that becomes a float."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise SwarmError(f"evaluate has to return a number or two; it returned a {type(value).__name__}") from error
