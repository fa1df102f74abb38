"""The callback for PyTorch: a model's `state_dict` as named tensors, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from swarmlearning.client.base import SwarmCallbackBase
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.torch_evaluation import Validation
from swarmlearning.tensors.file import Array, Tensor

# dtypes that NumPy does not have: their tag, and the integer dtype that shows the same bits
RAW = {
    torch.bfloat16: ("BF16", torch.int16),
    torch.float8_e4m3fn: ("F8_E4M3", torch.uint8),
    torch.float8_e5m2: ("F8_E5M2", torch.uint8),
}
EXTRA_STATE = "_extra_state"  # the name PyTorch gives to what a module's get_extra_state() returns


class SwarmCallback(SwarmCallbackBase):
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
        minPeers: peers without which no merge takes place.
        trainingContract: name of the training all peers join; default "defaultbb.cqdb.sml.hpe".
        model: the `torch.nn.Module`. Everything in its `state_dict` is merged, buffers too.
        totalEpochs: epochs planned, for showing progress.
        checkinModelOnTrainEnd: what this site contributes after its own training, while others still train:
            "snapshot" (default) its own last parameters, "active" the last merged ones, "inactive" nothing.
        nodeWeightage: 1 (default) to 100, this site's weight in a merge.
        mergeMethod: "mean" (default), "coordmedian" or "geomedian"; the same at all sites.
        useAdaptiveSync: let the swarm choose the interval by the mean validation loss; default False.
        adsValData: a `DataLoader` of (x, y) batches, for the validation loss and metric after each merge.
        adsValBatchSize: accepted for compatibility; the DataLoader has its own batch size.
        lossFunction, lossFunctionArgs: name of a class in `torch.nn` and a dict of its arguments.
        metricFunction, metricFunctionArgs: the same for `torchmetrics` (install it to use this).
        logger: a `logging.Logger`; default: one of its own, to stdout.
        ml_platform (or mlPlatform): "PYTORCH".

    Loading copies values in place: optimizers keep their parameters, tied weights stay tied. Optimizer state stays
    local. Entries that are not tensors, and extra state, stay local too (a warning names them).
    Modes, random numbers and gradients are after a merge what they were before it.
    """

    ml_platforms = ("PYTORCH",)
    platform_keywords = frozenset({"model", "lossFunction", "lossFunctionArgs", "metricFunction", "metricFunctionArgs"})

    def _prepare(self, options: Mapping[str, Any]) -> None:
        model, data = options.get("model"), options.get("adsValData")
        if model is None:
            raise SwarmError("Pytorch model is None")
        if not isinstance(model, torch.nn.Module):
            raise SwarmError(f"model has to be a torch.nn.Module; it is a {type(model).__name__}")
        if data is not None and not isinstance(data, DataLoader):
            raise SwarmError(f"adsValData type passed is {type(data)}. It has to be a torch.utils.data.DataLoader")
        if options.get("useAdaptiveSync") and options.get("lossFunction") is None:
            raise SwarmError("For adaptive sync, lossFunction is mandatory: the mean loss decides the interval")
        self._model = model
        self._validation = None if data is None else Validation.of(data, options)
        local = [name for name, value in model.state_dict().items() if not _is_merged(name, value)]
        if local:
            self.logger.warning("These entries of the model are not merged, each site keeps its own: %s", local)

    def _model_tensors(self) -> dict[str, Tensor]:
        state = self._model.state_dict()
        return {name: _tensor(name, value) for name, value in state.items() if _is_merged(name, value)}

    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        state = self._model.state_dict()
        for name, array in arrays.items():
            state[name] = torch.from_numpy(array).view(state[name].dtype)  # to the same width: the same bits
        # The model's own way in: copies in place without gradients, and heeds modules that load in a way of their own.
        self._model.load_state_dict(state)

    def _evaluate(self) -> tuple[float | None, float | None]:
        return (None, None) if self._validation is None else self._validation.evaluate(self._model)


def _is_merged(name: str, value: object) -> bool:
    # A module's extra state may be a tensor, but then of pickled bytes: no mean of those makes sense.
    return isinstance(value, torch.Tensor) and name.rpartition(".")[2] != EXTRA_STATE


def _tensor(name: str, value: torch.Tensor) -> Tensor:
    """Shares the memory of a contiguous tensor on the CPU. Raises `SwarmError` for what has no array of values."""
    try:
        if value.dtype in RAW:
            tag, bits = RAW[value.dtype]
            return Tensor.of(value.view(bits).numpy(force=True), name)._replace(dtype=tag)
        return Tensor.of(value.numpy(force=True), name)
    except (TypeError, ValueError, RuntimeError) as error:  # quantized, sparse, meta, lazy, float4, …
        raise SwarmError(f"model entry {name!r} of type {type(value).__name__} cannot be merged: {error}") from error
