"""The callback for Lightning's Trainer: PyTorch's callback, made when `fit` begins and called by it."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from swarmlearning.client import parameters, patterns, torch
from swarmlearning.client.local_layers import OPTION
from swarmlearning.client.log import failing_with, logger_for
from swarmlearning.client.parameters import DEFAULT_CONTRACT


class SwarmCallback(Callback):  # type: ignore[misc]  # Any where Lightning is missing
    """Swarm learning in Lightning:

        Trainer(max_epochs=5, callbacks=[SwarmCallback(syncFrequency=128, minPeers=2, totalEpochs=5)]).fit(module, data)

    Parameters are those of `swarmlearning.pyt` without `model`, which is the LightningModule; `adsValData` with
    `lossFunction` and `metricFunction` are evaluated on its `forward`. `syncFrequency` counts batches after which the
    optimizer has made a step. When training is over everywhere else, the Trainer is stopped. Several devices of a
    strategy like "ddp" are one site: rank 0 has the SL node.
    """

    def __init__(
        self,
        syncFrequency: Any = None,  # noqa: N803 - required, but a misspelt name gets an error of its own
        minPeers: Any = None,  # noqa: N803
        trainingContract: Any = DEFAULT_CONTRACT,  # noqa: N803
        **keywords: Any,
    ) -> None:
        with failing_with():
            logger_for(keywords.get("logger"))
            options = parameters.known(keywords, torch.SwarmCallback.platform_keywords - {"model"})
            parameters.check(syncFrequency, minPeers, trainingContract, options, _Member.ml_platforms)
            parameters.proximal_mu(options.get("proximalMu"))
            patterns.checked(OPTION, options.get(OPTION))
        self._arguments = (syncFrequency, minPeers, trainingContract)
        self._options = options
        self._member: _Member | None = None
        self._steps = 0  # of the optimizer

    @property
    def training_over(self) -> bool:
        """True once the swarm's training is over."""
        return self._member is not None and self._member.training_over

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the session; the model is on its device and the ranks are connected by then."""
        if self._member is None:
            self._member = _Member(*self._arguments, model=pl_module, trainer=trainer, **self._options)
        self._steps = trainer.global_step
        self._member.on_train_begin()
        self._stop_if_over(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        """Adds FedProx's pull where `proximalMu` is set: gradients are complete and unscaled, and not clipped yet."""
        if self._member is not None:
            self._member.pull(optimizer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a step of the optimizer; with gradients accumulated, not every batch ends with one."""
        if self._member is not None and trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self._member.on_batch_end(batch_idx, {"size": _samples(trainer)})
            self._stop_if_over(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts the epoch."""
        if self._member is not None:
            self._member.on_epoch_end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for the end of the swarm's training and leaves its model in place."""
        if self._member is not None:
            self._member.on_train_end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the swarm, which goes on without this site."""
        if self._member is not None:
            self._member.abandon(f"{type(exception).__name__}: {exception}")

    def _stop_if_over(self, trainer: Trainer) -> None:
        if self.training_over:
            trainer.should_stop = True


def _samples(trainer: Trainer) -> int:
    """Samples between two steps of the optimizer, at all ranks; 0 where batches differ in size."""
    batch = getattr(trainer.train_dataloader, "batch_size", None) or 0
    return int(batch * trainer.accumulate_grad_batches * trainer.world_size)


class _Member(torch.SwarmCallback):
    """PyTorch's callback within `fit`."""

    _automatic = False  # Lightning tells when gradients are complete
    platform_keywords = torch.SwarmCallback.platform_keywords | {"trainer"}

    def _prepare(self, options: Mapping[str, Any]) -> None:
        super()._prepare(options)
        self._trainer: Trainer = options["trainer"]

    def pull(self, optimizer: Any) -> None:
        """As `on_gradients_ready`, with the scale of gradients that a fused optimizer unscales by itself."""
        scaler = getattr(self._trainer.precision_plugin, "scaler", None)
        fused = getattr(optimizer, "_step_supports_amp_scaling", False)
        if self._proximal is not None:
            self._proximal.add(optimizer, scaler.get_scale() if fused and scaler is not None else 1.0)

    def _evaluate(self) -> tuple[float | None, float | None]:
        """Evaluates in the precision of the Trainer, as its own validation does."""
        plugin = self._trainer.precision_plugin

        def forward(x: Any) -> Any:
            with plugin.val_step_context():
                return plugin.convert_output(self._model.module(plugin.convert_input(x)))

        return (None, None) if self._validation is None else self._validation.evaluate(self._model.module, forward)

    def _on_training_over(self) -> None:
        self.logger.info("Swarm training is over. Stopping local training")
