"""A model in the Trainer goes out and comes back, whole or as an adapter only; nothing else of the training changes."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.callbacks import Join, Log, fixed_terms
from support.documented import of_platforms
from support.fake_sl import FakeSL, plus
from support.tools import require
from swarmlearning.channel.messages import Evaluated, Open

require("huggingface")

import peft  # noqa: E402
import transformers  # noqa: E402

from swarmlearning.hf_transformers import SwarmCallback, SwarmError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's use of it
torch.set_num_threads(1)
VOCABULARY = 20


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched from a hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def make_model(dropout: float = 0.0) -> Any:
    """The smallest BERT, made here."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=2,
    )
    return transformers.BertForSequenceClassification(config)


def with_adapter(model: Any) -> Any:
    torch.manual_seed(1)
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=4, target_modules=["query", "value"])
    return peft.get_peft_model(model, lora)


def sentences(count: int, seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    words = random.integers(1, VOCABULARY, (count, 5))
    return [{"input_ids": row.tolist(), "labels": int(row[0] > VOCABULARY // 2)} for row in words]


def count_right(predicted: Any) -> dict[str, float]:
    right = predicted.predictions.argmax(1) == predicted.label_ids
    return {"right": float(right.sum()), "accuracy": float(right.mean())}


def make_trainer(model: Any, folder: Path, **more: Any) -> Any:
    settings = {
        "output_dir": str(folder / "out"),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.01,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_strategy": "no",
    } | more.pop("settings", {})
    args = transformers.TrainingArguments(**settings)
    return transformers.Trainer(model=model, args=args, train_dataset=sentences(16), **more)


def bits(model: Any) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def test_a_whole_hugging_face_model_is_sent_and_replaced_by_the_merged_one(tmp_path: Path, join: Join) -> None:
    model = make_model()
    first = bits(model)
    with FakeSL(tmp_path, merge=plus(1 / 64)) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=3, model=model, totalEpochs=2)
        make_trainer(model, tmp_path, callbacks=[callback]).train()
        [opened] = sl.of(Open)
        assert opened.ml_platform == "HF_TRANSFORMER"
        assert opened.roles == {name: "parameter" for name, _ in model.named_parameters()}
        assert {name: array.tobytes() for name, array in sl.models[0].items()} == first
        assert len(sl.models) == 1 + 8 // 3 + 1
        assert [message.epochs for message in sl.of(Evaluated)] == [0, 0, 1, 2]
        last = plus(1 / 64)(sl.models[-1])
    assert bits(model) == {name: array.tobytes() for name, array in last.items()}


def test_the_trainers_optimizer_steps_are_counted_not_its_batches(tmp_path: Path, join: Join) -> None:
    model = make_model()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model)
        make_trainer(
            model, tmp_path, callbacks=[callback], settings={"gradient_accumulation_steps": 2, "bf16": True}
        ).train()
        assert len(sl.models) == 1 + 4 + 1  # of 8 batches
        assert {entry.dtype for entry in sl.headers[0].entries} == {"F32"}  # parameters, under mixed precision


def test_with_peft_only_the_adapter_is_sent_and_the_merged_one_is_loaded(tmp_path: Path, join: Join) -> None:
    model = with_adapter(make_model())
    before = bits(model)
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=4, model=model, hfMode="peft")
        make_trainer(model, tmp_path, callbacks=[callback]).train()
        layer = "base_model.model.bert.encoder.layer.0.attention.self"
        assert sorted(sl.models[0]) == sorted(
            [
                *(f"{layer}.{part}.lora_{side}.weight" for part in ("query", "value") for side in "AB"),
                "base_model.model.classifier.weight",
                "base_model.model.classifier.bias",
            ]
        )
        assert sl.of(Open)[0].roles == dict.fromkeys(sl.models[0], "parameter")
        sent, merged = sl.models[-1], plus(1)(sl.models[-1])
        assert any((sent[name] != sl.models[0][name] + 1).any() for name in sent)  # trained in between
    after = bits(model)
    changed = {name for name in after if after[name] != before[name]}
    assert all("lora_" in name or "modules_to_save" in name for name in changed)
    assert len(changed) == len(merged)
    loaded = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    assert {name: value.numpy().tobytes() for name, value in loaded.items()} == {
        name: array.tobytes() for name, array in merged.items()
    }


def test_merging_an_adapter_keeps_the_parameters_that_its_optimizer_has(tmp_path: Path, join: Join) -> None:
    model = with_adapter(make_model())
    parameters = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
    with FakeSL(tmp_path, merge=lambda arrays: {name: array * 0 for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model, hfMode="peft")
        make_trainer(model, tmp_path, callbacks=[callback]).train()
        assert any(np.any(array) for array in sl.models[2].values())  # the step moved what was loaded
    assert [id(parameter) for parameter in model.parameters() if parameter.requires_grad] == parameters


def test_with_only_trainable_frozen_parameters_of_a_hugging_face_model_are_not_sent(tmp_path: Path, join: Join) -> None:
    model = make_model()
    model.bert.requires_grad_(False)
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=4, model=model, onlyTrainable=True)
        make_trainer(model, tmp_path, callbacks=[callback]).train()
        assert sorted(sl.models[0]) == ["classifier.bias", "classifier.weight"]


def test_unfreezing_layers_during_a_training_with_only_trainable_is_an_error(tmp_path: Path, join: Join) -> None:
    model = make_model()
    model.bert.requires_grad_(False)

    class Unfreezing(transformers.TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, *arguments: Any, **keywords: Any) -> None:
            model.bert.requires_grad_(True)

    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=3, model=model, onlyTrainable=True)
        trainer = make_trainer(model, tmp_path, callbacks=[callback, Unfreezing()])
        with pytest.raises(SwarmError, match="parameters were frozen or unfrozen after the callback was made: 'bert"):
            trainer.train()


stated = partial(fixed_terms, SwarmCallback)


def test_sites_with_different_base_models_under_their_adapters_send_different_digests(
    tmp_path: Path, join: Join
) -> None:
    base, other = make_model(), make_model()
    with torch.no_grad():
        other.bert.embeddings.word_embeddings.weight[0, 0] += 1
        base.classifier.weight.add_(1)  # saved with the adapter and merged: the original is never used
    adapted = [with_adapter(model) for model in (base, make_model(), other)]
    with torch.no_grad():
        adapted[0].base_model.model.bert.encoder.layer[0].attention.self.query.lora_B.default.weight.add_(1)
    adapted[1].add_adapter("unused", peft.LoraConfig(r=1, target_modules=["key"]))
    first, same, different = (stated(tmp_path, join, model, hfMode="peft").frozen for model in adapted)
    assert len(first) == 64
    assert first == same != different


def test_trainable_parameters_outside_the_adapter_are_refused(tmp_path: Path, join: Join) -> None:
    model = with_adapter(make_model())
    norm = model.base_model.model.bert.embeddings.LayerNorm
    norm.requires_grad_(True)
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match=r"these parameters are trained too: '.*LayerNorm\."):
        join(sl, SwarmCallback, model=model, hfMode="peft")


def test_biases_that_are_saved_with_the_adapter_are_merged(tmp_path: Path, join: Join) -> None:
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], bias="all")
    with FakeSL(tmp_path) as sl:
        join(sl, SwarmCallback, model=peft.get_peft_model(make_model(), lora), hfMode="peft")
        assert any(spec.name.endswith("LayerNorm.bias") for spec in sl.of(Open)[0].structure)


def test_sites_with_different_class_names_send_different_digests(tmp_path: Path, join: Join) -> None:
    models = [make_model() for _ in range(3)]
    models[1].config.id2label = {0: "well", 1: "sick"}
    models[2].config.id2label = {0: "sick", 1: "well"}
    assert len({stated(tmp_path, join, model).classes for model in models}) == 3


# --- loss and metric


@pytest.mark.parametrize(("name", "key"), [(None, "eval_right"), ("accuracy", "eval_accuracy")])
def test_loss_and_metric_come_from_the_trainers_own_evaluation(
    tmp_path: Path, join: Join, name: str | None, key: str
) -> None:
    model, data = make_model(), sentences(9, seed=1)
    trainer = make_trainer(model, tmp_path, compute_metrics=count_right)
    with FakeSL(tmp_path) as sl:
        trainer.add_callback(
            join(
                sl,
                SwarmCallback,
                syncFrequency=4,
                model=model,
                trainer=trainer,
                adsValData=data,
                metricFunction=name,
                useAdaptiveSync=True,
            )
        )
        trainer.train()
        found = sl.of(Evaluated)
    expected = trainer.evaluate(data)
    assert found[-1].loss == pytest.approx(expected["eval_loss"], rel=1e-5)
    assert found[-1].metric == pytest.approx(expected[key], rel=1e-5)
    assert found[0].loss != found[-1].loss


def test_evaluating_merged_models_does_not_change_the_training_of_a_trainer(tmp_path: Path, join: Join) -> None:
    models, logs = [], []
    for name in ("without", "with"):
        model = make_model(dropout=0.5)
        transformers.set_seed(0)
        trainer = make_trainer(model, tmp_path / name, eval_dataset=sentences(4), settings={"eval_strategy": "epoch"})
        data = {"adsValData": sentences(9, seed=1)} if name == "with" else {}
        with FakeSL(tmp_path / name) as sl:
            trainer.add_callback(join(sl, SwarmCallback, syncFrequency=1, model=model, trainer=trainer, **data))
            trainer.train()
            assert {message.loss is not None for message in sl.of(Evaluated)} == {name == "with"}
        models.append(bits(model))
        logs.append([entry.get("eval_loss") for entry in trainer.state.log_history])
    assert models[0] == models[1]
    assert logs[0] == logs[1]


def test_validation_data_without_the_trainer_are_an_error_that_explains_how_to_set_it(
    tmp_path: Path, join: Join
) -> None:
    model = make_model()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=model, adsValData=sentences(2))
        with pytest.raises(SwarmError, match=r"pass trainer=, or set callback\.trainer before train\(\)"):
            make_trainer(model, tmp_path, callbacks=[callback]).train()


def test_a_metric_that_the_trainer_does_not_compute_is_refused(tmp_path: Path, join: Join) -> None:
    model = make_model()
    trainer = make_trainer(model, tmp_path, compute_metrics=count_right)
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=model, adsValData=sentences(2), metricFunction="f1")
        callback.trainer = trainer
        trainer.add_callback(callback)
        with pytest.raises(SwarmError, match=r"metricFunction: f1\. It has to be one of \['right', 'accuracy'\]"):
            trainer.train()


# --- the end


class WithProximalLoss(transformers.Trainer):  # type: ignore[misc]
    def compute_loss(self, model: Any, *arguments: Any, **keywords: Any) -> Any:
        loss = super().compute_loss(model, *arguments, **keywords)
        first = getattr(self, "first", None) or [each.detach().clone() for each in model.parameters()]
        self.first = first
        pairs = zip(model.parameters(), first, strict=True)
        return loss + 0.5 * 4.0 * sum(((now - then) ** 2).sum() for now, then in pairs)


@pytest.mark.parametrize("clip", [0.05, 0.0])
@pytest.mark.usefixtures("loopback")
def test_the_pull_in_a_trainer_is_the_gradient_of_the_loss_form(tmp_path: Path, log: Log, clip: float) -> None:
    """Without a swarm the model loaded is the first one. The Trainer clips gradients unless it is told not to."""
    model, other = make_model(), make_model()
    settings = {"max_grad_norm": clip, "optim": "sgd", "learning_rate": 0.05}
    trainer = make_trainer(model, tmp_path, settings=settings)
    trainer.add_callback(SwarmCallback(99, 1, logger=log.logger, model=model, trainer=trainer, proximalMu=4.0))
    trainer.train()
    WithProximalLoss(model=other, args=trainer.args, train_dataset=sentences(16)).train()
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)
    assert "clip_grad_norm_" not in vars(trainer.accelerator)  # as it was


@pytest.mark.usefixtures("loopback")
def test_fedprox_without_the_trainer_is_refused(tmp_path: Path, log: Log) -> None:
    model = make_model()
    callback = SwarmCallback(99, 1, logger=log.logger, model=model, proximalMu=1)
    with pytest.raises(SwarmError, match="proximalMu needs the Trainer"):
        make_trainer(model, tmp_path, callbacks=[callback]).train()
    callback.abandon("the test has ended")


def test_a_hugging_face_trainer_is_stopped_when_swarm_training_is_over(tmp_path: Path, join: Join, log: Log) -> None:
    model = make_model()
    with FakeSL(tmp_path, over_at=2, merge=plus(1 / 64)) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=3, model=model)
        trainer = make_trainer(model, tmp_path, callbacks=[callback])
        trainer.train()
        merged = plus(1 / 64)(sl.models[-1])
    assert trainer.state.global_step == 3
    assert bits(model) == {name: array.tobytes() for name, array in merged.items()}
    assert "Swarm training is over. Stopping local training" in log.texts("INFO")


@pytest.mark.usefixtures("loopback")
def test_a_trainer_with_a_loopback_callback_trains_alone(tmp_path: Path, log: Log) -> None:
    model = make_model()
    callback = SwarmCallback(1, 2, model=model, logger=log.logger, adsValData=sentences(2))
    trainer = make_trainer(model, tmp_path, callbacks=[callback])
    trainer.train()
    assert trainer.state.global_step == 8


# --- parameters of this platform

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "no model is given: pass the model that the Trainer has, model=..."),
    ({"model": "bert"}, "model has to be a torch.nn.Module; it is a str"),
    ({"hfMode": "lora"}, "Invalid Hugging Face model type: lora. Allowed values: ['full', 'peft']"),
    ({"hfMode": None}, "Invalid Hugging Face model type: None"),
    ({"hfMode": "peft"}, "hfMode peft needs a model of peft.get_peft_model; this is a BertForSequenceClassification"),
    ({"hfmode": "peft"}, "Unknown parameter hfmode. Did you mean hfMode?"),
]


@pytest.mark.usefixtures("loopback")
def test_a_trainer_that_trains_another_model_is_refused(tmp_path: Path, log: Log) -> None:
    callback = SwarmCallback(1, 2, model=make_model(), logger=log.logger)
    with pytest.raises(SwarmError, match="the Trainer's model is not the callback's"):
        make_trainer(make_model(), tmp_path, callbacks=[callback]).train()


@pytest.mark.parametrize(("keywords", "text"), WRONG, ids=[text[:30] for _, text in WRONG])
@pytest.mark.usefixtures("loopback")
def test_invalid_arguments_of_the_hugging_face_callback_are_refused(
    log: Log, keywords: dict[str, Any], text: str
) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(4, 2, logger=log.logger, **{"model": make_model()} | keywords)
    assert text in str(caught.value)
    assert log.texts("ERROR") == []  # raised: not reported a second time


@pytest.mark.usefixtures("loopback")
def test_a_model_with_an_adapter_is_refused_where_peft_is_missing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_adapter(make_model())
    monkeypatch.setitem(sys.modules, "peft", None)  # an import of it fails
    with pytest.raises(SwarmError, match=r"hfMode peft needs peft, which cannot be imported: .*pip install peft"):
        SwarmCallback(4, 2, logger=log.logger, model=model, hfMode="peft")


@pytest.mark.usefixtures("loopback")
def test_loss_and_metric_arguments_that_the_trainer_replaces_are_logged_as_unused(log: Log) -> None:
    SwarmCallback(4, 2, logger=log.logger, model=make_model(), lossFunction="MSELoss", metricFunctionArgs={})
    assert "lossFunction, metricFunctionArgs: not used here, the Trainer computes loss and metrics" in log.texts("INFO")


@pytest.mark.parametrize(("keywords", "text"), of_platforms("HF_TRANSFORMER"), ids=str)
@pytest.mark.usefixtures("loopback")
def test_the_hugging_face_callback_raises_the_documented_errors(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(**{"syncFrequency": 4, "minPeers": 2, "logger": log.logger, "model": make_model()} | keywords)
    assert str(caught.value) == text
    assert log.texts("ERROR") == []  # raised: not reported a second time
