"""The callback for PyTorch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from swarmlearning.channel.messages import Fixed, Open
from swarmlearning.client.base import SwarmCallbackBase
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.fixed import tensors_digest
from swarmlearning.client.parameters import positive, proximal_mu
from swarmlearning.client.session import Exchanges, OnIdle
from swarmlearning.client.torch_evaluation import Validation
from swarmlearning.client.torch_model import TorchModel
from swarmlearning.client.torch_proximal import Proximal
from swarmlearning.client.torch_ranks import for_this_rank
from swarmlearning.tensors.file import Array, Tensor
from swarmlearning.tensors.structure import Roles


class TorchCallback(SwarmCallbackBase):
    """Base of callbacks on a PyTorch model; `_prepare` sets `_model`."""

    _model: TorchModel
    _proximal: Proximal | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """As for all platforms."""
        if self._proximal is not None:
            self._proximal.load()  # without a swarm nothing is loaded: the first parameters stand
        super().on_train_begin(logs)

    def on_batch_end(self, batch: Any = None, logs: Any = None) -> None:
        """As for all platforms."""
        if self._proximal is not None:
            self._proximal.stepped()
        super().on_batch_end(batch, logs)

    def on_gradients_ready(self, optimizer: Any = None) -> None:
        """With `proximalMu`, adds FedProx's pull to the gradients; else does nothing.

        Call it when the gradients of an optimizer's step are complete: after `backward()`, and `scaler.unscale_()`
        where there is one, before they are clipped. A step whose gradients it has not seen gets the pull as it begins,
        so a loop that does not clip need not call it. `optimizer`: where there are several, the one whose step it is.
        """
        if self._proximal is not None:
            self._proximal.add(optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        """As for all platforms."""
        super().on_train_end(logs)
        if self._proximal is not None:
            self._proximal.end()

    def abandon(self, reason: str) -> None:
        """As for all platforms."""
        super().abandon(reason)
        if self._proximal is not None:
            self._proximal.end()

    def _pull(self, options: Mapping[str, Any], automatic: bool = True) -> None:
        """Sets up FedProx if `proximalMu` is given; once the model is known."""
        if mu := proximal_mu(options.get("proximalMu")):
            self._proximal = Proximal(mu, self._pulled_parameters, automatic)

    def _pulled_parameters(self) -> dict[str, torch.nn.Parameter]:
        parameters = self._model.parameters().items()
        return {name: found for name, found in parameters if found is not None and name not in self._local}

    def _load(self, merged: Mapping[str, Array]) -> None:
        super()._load(merged)
        if self._proximal is not None:
            self._proximal.load()

    def _model_tensors(self) -> dict[str, Tensor]:
        if self._proximal is not None:
            self._proximal.require_added(self._pace.steps)
        return self._model.tensors()

    def _tied(self) -> list[frozenset[str]]:
        return self._model.tied()

    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        self._model.load(arrays)

    def _roles(self) -> Roles:
        return self._model.roles()

    def _fixed(self) -> Fixed:
        return Fixed(frozen=tensors_digest(self._model.frozen.digests()))

    def _connect(self, request: Open, on_idle: OnIdle = lambda: None) -> Exchanges:
        return for_this_rank(lambda on_idle: super(TorchCallback, self)._connect(request, on_idle))

    def _name_local_entries(self) -> None:
        if self._model.local:
            local = self._model.local
            self.logger.warning("These entries of the model are not merged, each site keeps its own: %s", local)


class SwarmCallback(TorchCallback):
    """Swarm learning in a PyTorch training loop.

        callback = SwarmCallback(syncFrequency=128, minPeers=2, model=model, totalEpochs=epochs)
        callback.on_train_begin()
        for epoch in range(epochs):
            for x, y in loader:
                ...  # forward, backward, optimizer.step()
                callback.on_batch_end()
            callback.on_epoch_end(epoch)
        callback.on_train_end()

    Parameters (names and defaults of the original product):
        syncFrequency: batches from one merge to the next (at the end of batch N, 2N, 3N, … exactly).
        minPeers: number of peers needed for a merge.
        trainingContract: name of the training all peers join; default "defaultbb.cqdb.sml.hpe".
        model: the `torch.nn.Module`. Everything in its `state_dict` is merged, buffers too.
        totalEpochs: epochs planned, for showing progress.
        checkinModelOnTrainEnd: what this site contributes after its own training, while others still train:
            "snapshot" (default) its own last parameters, "active" the last merged ones, "inactive" nothing.
        nodeWeightage: 1 (default) to 100, this site's weight in a merge.
        trainingSamples: the number of this site's training samples, such as `len(dataset)`; its weight in a merge under
            a contract that weighs sites by samples.
        mergeMethod: "mean" (default), "coordmedian" or "geomedian"; the same at all sites.
        outerOptimizer: "none" (default), "nesterov" or "adam": the merge is a direction, in which one step is taken
            with `outerLearningRate` and `outerMomentum` (0.7 and 0.9; of adam 0.01 and 0.9); the same at all sites.
            Fewer rounds may do then, of 100 batches or more. Not with useAdaptiveSync or the check-in mode "snapshot".
        useAdaptiveSync: let the swarm choose the interval by the mean validation loss; default False.
        adsValData: a `DataLoader` of (x, y) batches, for the validation loss and metric after each merge; or a
            `Dataset` of such samples.
        adsValBatchSize: batch size for a Dataset, default 1; a DataLoader has its own.
        maxPeers: accepted for compatibility; there is no limit.
        lossFunction, lossFunctionArgs: name of a class in `torch.nn` and a dict of its arguments.
        metricFunction, metricFunctionArgs: the same for `torchmetrics` (install it to use this).
        onlyTrainable: leave out parameters that need no gradient when the callback is made (transfer learning). They
            have to stay as they are: sites whose frozen parameters differ are refused, and it is an error to freeze or
            unfreeze others later. Buffers are merged all the same. Default False.
        proximalMu: FedProx: with each step of the optimizer, parameters are pulled back to the merged model that was
            loaded last, by a gradient of mu * (w - w_loaded). Where the loop clips gradients, call
            `callback.on_gradients_ready()` before. Default: not at all.
        localLayers: patterns of names, such as ["head.*"]: tensors that stay this site's own. Default: none.
        logger: a `logging.Logger`; default: one of its own, to stdout.
        ml_platform (or mlPlatform): "PYTORCH".

    Loading copies values in place: optimizers keep their parameters, tied weights stay tied. Optimizer state stays
    local. Entries that are not tensors, and extra state, stay local too (a warning names them).
    Modes, random numbers and gradients are after a merge what they were before it.

    With DistributedDataParallel (or Accelerate) make the callback on every rank, after the process group, and call its
    hooks on every rank, equally often: rank 0 has the SL node, all ranks get what is merged. Ranks may be
    `SWARM_RANK_SECONDS` (300) apart; a rank that has not come then is an error on the others. With gradient
    accumulation call `on_batch_end` after the optimizer's step, not after each part of a batch.
    """

    _automatic = True  # nothing but the script itself knows when gradients are complete
    ml_platforms = ("PYTORCH",)
    platform_keywords = frozenset(
        {
            "lossFunction",
            "lossFunctionArgs",
            "metricFunction",
            "metricFunctionArgs",
            "model",
            "onlyTrainable",
            "proximalMu",
        }
    )

    def _prepare(self, options: Mapping[str, Any]) -> None:
        model, data = options.get("model"), options.get("adsValData")
        if model is None:
            raise SwarmError("no model is given: pass the torch.nn.Module that is trained, model=...")
        if not isinstance(model, torch.nn.Module):
            raise SwarmError(f"model has to be a torch.nn.Module; it is a {type(model).__name__}")
        if isinstance(data, Dataset):  # as scripts for release 2.0 have it
            data = DataLoader(data, batch_size=_batch_size(options.get("adsValBatchSize")))
        if data is not None and not isinstance(data, DataLoader):
            raise SwarmError(
                f"adsValData type passed is {type(data)}. It has to be a torch.utils.data DataLoader or Dataset"
            )
        if options.get("useAdaptiveSync") and options.get("lossFunction") is None:
            raise SwarmError("For adaptive sync, lossFunction is mandatory: the mean loss decides the interval")
        self._model = TorchModel(model, bool(options.get("onlyTrainable")))
        self._validation = None if data is None else Validation.of(data, options)
        self._name_local_entries()
        self._pull(options, self._automatic)

    def _evaluate(self) -> tuple[float | None, float | None]:
        return (None, None) if self._validation is None else self._validation.evaluate(self._model.module)


def _batch_size(given: Any) -> int:
    return 1 if given is None else positive(given, "adsValBatchSize has to be a positive integer")
