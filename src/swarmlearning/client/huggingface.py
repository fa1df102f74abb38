"""The callback for the Trainer of Hugging Face's transformers: whole models, or only the adapter of peft."""

import importlib
from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from swarmlearning.channel.messages import Fixed
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.fixed import labels_digest
from swarmlearning.client.log import failing_with
from swarmlearning.client.torch import TorchCallback
from swarmlearning.client.torch_evaluation import undisturbed
from swarmlearning.client.torch_model import TorchModel
from swarmlearning.client.torch_proximal import Proximal
from swarmlearning.tensors.structure import labels

MODES = ("full", "peft")
ELSEWHERE = ("lossFunction", "lossFunctionArgs", "metricFunctionArgs")  # parameters that PyTorch's callback has
PREFIX = "eval"
OF_ADAPTERS = ("modules_to_save.", "original_module.", "prompt_encoder.")  # parts of names, in a PeftModel


class SwarmCallback(TorchCallback, TrainerCallback):  # type: ignore[misc]  # Any where transformers is missing
    """Swarm learning in the Trainer:

        trainer = Trainer(model=model, args=args, train_dataset=data)
        trainer.add_callback(SwarmCallback(syncFrequency=16, minPeers=2, model=model, trainer=trainer))
        trainer.train()

    Parameters beside those of all platforms (see `swarmlearning.pyt`):
        syncFrequency: counts steps of the optimizer: with gradient accumulation, several batches.
        model: the model that the Trainer has.
        hfMode: "full" (default): all of the model is merged; "peft": only the active adapter of a `PeftModel`, and the
            modules that are saved with it. All the rest has to be the same at all sites, or they are refused; so are
            sites whose models name other classes (`config.id2label`).
        trainer: the Trainer, for validation: loss and metric come from its own evaluation. It may be set later:
            `callback.trainer = trainer`.
        adsValData: the dataset for that.
        metricFunction: which of the values of the Trainer's `compute_metrics` is the metric; default the first.
        onlyTrainable: leave out frozen parameters. Default False.
        proximalMu: FedProx, as for PyTorch, before the Trainer clips gradients; needs `trainer`.
        ml_platform (or mlPlatform): "HF_TRANSFORMER".

    When training is over everywhere else, the Trainer is stopped. Several processes (`torchrun`, `accelerate launch`)
    are one site: rank 0 is connected to the SL node. The swarm's model is loaded last, also where the Trainer is set to
    load its own best one at the end.
    """

    ml_platforms = ("HF_TRANSFORMER",)
    platform_keywords = frozenset({"metricFunction", "model", "onlyTrainable", "proximalMu", "trainer", *ELSEWHERE})

    trainer: Any

    def _prepare(self, options: Mapping[str, Any]) -> None:
        model, mode = options.get("model"), options.get("hfMode", "full")
        if model is None:
            raise SwarmError("no model is given: pass the model that the Trainer has, model=...")
        if not isinstance(model, torch.nn.Module):
            raise SwarmError(f"model has to be a torch.nn.Module; it is a {type(model).__name__}")
        if mode not in MODES:
            raise SwarmError(f"Invalid Hugging Face model type: {mode}. Allowed values: {list(MODES)}")
        unused = [name for name in ELSEWHERE if options.get(name) is not None]
        if unused:
            self.logger.info("%s: not used here, the Trainer computes loss and metrics", ", ".join(unused))
        only_trainable = bool(options.get("onlyTrainable"))
        self._model = Adapter(model) if mode == "peft" else TorchModel(model, only_trainable)
        self._name_local_entries()
        self._data, self._metric = options.get("adsValData"), options.get("metricFunction")
        self.trainer = options.get("trainer")
        self._pull(options)

    def _fixed(self) -> Fixed:
        """As for all platforms, with the names of the classes that the model's outputs stand for."""
        names = getattr(getattr(self._model.module, "config", None), "id2label", None)
        classes = [[str(index), label] for index, label in names.items()] if isinstance(names, dict) else None
        return msgspec.structs.replace(super()._fixed(), classes=labels_digest(classes))

    # --- the Trainer's events

    def on_train_begin(  # type: ignore[override]
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """As for all platforms."""
        with failing_with():
            self._require_own(kwargs.get("model"))
            self._pull_before_clipping()
        super().on_train_begin()
        self._stop_if_over(control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Counts a step of the optimizer; syncs when that is due."""
        samples = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.on_batch_end(logs={"size": samples})
        self._stop_if_over(control)

    def on_epoch_end(  # type: ignore[override]
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """As for all platforms."""
        super().on_epoch_end()

    def on_train_end(  # type: ignore[override]
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """As for all platforms."""
        super().on_train_end()

    def _require_own(self, trained: torch.nn.Module | None) -> None:
        """Wrappers have the parameters of what they wrap."""
        own = set(map(id, self._model.module.parameters()))
        if trained is not None and own.isdisjoint(map(id, trained.parameters())):
            raise SwarmError("the Trainer's model is not the callback's: pass the same model to both (no model_init)")

    def _pull_before_clipping(self) -> None:
        """The Trainer has no event between gradients and their clipping, which this does first where FedProx is on."""
        if self._proximal is None:
            return
        if self.trainer is None:
            raise SwarmError(
                "proximalMu needs the Trainer, which clips gradients: pass trainer=, or set callback.trainer"
            )
        self._proximal.until_end(_Pulling(self.trainer.accelerator, self._proximal))

    def _stop_if_over(self, control: TrainerControl) -> None:
        if self.training_over:
            control.should_training_stop = True

    def _on_training_over(self) -> None:
        self.logger.info("Swarm training is over. Stopping local training")

    def _evaluate(self) -> tuple[float | None, float | None]:
        """Evaluates by the loop of `Trainer.evaluate`, without its events for other callbacks and the Trainer's log."""
        if self._data is None:
            return None, None
        trainer = self.trainer
        if trainer is None:
            raise SwarmError(
                "adsValData is evaluated by the Trainer: pass trainer=, or set callback.trainer before train()"
            )
        loader = trainer.get_eval_dataloader(self._data)
        with undisturbed(self._model.module, loader):
            values = dict(
                trainer.evaluation_loop(
                    loader,
                    description="Swarm",
                    prediction_loss_only=True if trainer.compute_metrics is None else None,
                    metric_key_prefix=PREFIX,
                ).metrics
            )
        loss = values.pop(f"{PREFIX}_loss", None)
        values.pop(f"{PREFIX}_model_preparation_time", None)
        if self._metric is None:
            return loss, next(iter(values.values()), None)
        if f"{PREFIX}_{self._metric}" not in values:
            known = [name.removeprefix(f"{PREFIX}_") for name in values]
            raise SwarmError(f"Invalid value metricFunction: {self._metric}. It has to be one of {known}")
        return loss, values[f"{PREFIX}_{self._metric}"]


class _Pulling:
    """An accelerator's `clip_grad_norm_`, which unscales and clips a step's gradients, with FedProx's pull before."""

    def __init__(self, accelerator: Any, proximal: Proximal) -> None:
        self._accelerator, self._clip, self._proximal = accelerator, accelerator.clip_grad_norm_, proximal
        accelerator.clip_grad_norm_ = self

    def remove(self) -> None:
        del self._accelerator.clip_grad_norm_  # the class has its own

    def __call__(self, parameters: Any, *arguments: Any, **keywords: Any) -> Any:
        if not self._proximal.is_added:
            scaler = self._accelerator.scaler
            self._proximal.add(scale=1.0 if scaler is None else scaler.get_scale())
        return self._clip(parameters, *arguments, **keywords)


class Adapter(TorchModel):
    """The active adapter of a `PeftModel`, by the names of its own files."""

    def __init__(self, module: torch.nn.Module) -> None:
        try:
            self._peft = importlib.import_module("peft")
        except ImportError as error:
            raise SwarmError(f"hfMode peft needs peft, which cannot be imported: {error}. pip install peft") from error
        super().__init__(module)

    def left_out(self) -> frozenset[str]:
        """Everything but the adapters; the original of a module that is saved with one is never used beside it."""
        if not isinstance(self.module, self._peft.PeftModel):
            return frozenset()
        of_adapters = {*OF_ADAPTERS, getattr(self.module.base_model, "prefix", OF_ADAPTERS[0])}
        merged = self.entries().keys()
        named = self.module.named_parameters(remove_duplicate=False)
        return frozenset(
            name for name, _ in named if name not in merged and not any(part in name for part in of_adapters)
        )

    def _frozen_parameters(self) -> dict[str, torch.Tensor]:
        """Digests by names that do not depend on which parts of the model have adapters at a site, used or not."""
        return {name.replace(".base_layer.", "."): value for name, value in super()._frozen_parameters().items()}

    def require_frozen(self) -> None:
        super().require_frozen()
        if trained := [name for name, value in self._frozen_parameters().items() if value.requires_grad]:
            raise SwarmError(
                f"hfMode peft merges the adapter only, but these parameters are trained too: {labels(trained)}. Name "
                "their modules in modules_to_save of the adapter's configuration, or freeze them"
            )

    def entries(self) -> dict[str, Any]:
        if not isinstance(self.module, self._peft.PeftModel):
            raise SwarmError(
                f"hfMode peft needs a model of peft.get_peft_model; this is a {type(self.module).__name__}"
            )
        # "auto" would query the hub whether the vocabulary has grown; trained embeddings belong to modules_to_save.
        state: dict[str, Any] = self._peft.get_peft_model_state_dict(
            self.module, adapter_name=self.module.active_adapter, save_embedding_layers=False
        )
        return state

    def put(self, state: dict[str, Any]) -> None:
        result = self._peft.set_peft_model_state_dict(self.module, state, adapter_name=self.module.active_adapter)
        if result.unexpected_keys:
            raise SwarmError(f"peft has no place for these entries of the adapter: {result.unexpected_keys}")
