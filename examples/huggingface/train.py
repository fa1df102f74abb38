"""Reviews with Hugging Face's Trainer: a small BERT, made here, or only a LoRA adapter of it.

swarm run -n 3 -- python examples/huggingface/train.py
HF_MODE=peft swarm run -n 3 -- python examples/huggingface/train.py
"""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is fetched

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

from swarmlearning.hf_transformers import SwarmCallback
from swarmlearning.tensors import file as tensor_file

GOOD = [
    "fine",
    "great",
    "lovely",
    "superb",
    "charming",
    "brilliant",
    "honest",
    "warm",
    "clever",
    "moving",
    "funny",
    "new",
]
BAD = ["awful", "dull", "bland", "sloppy", "tedious", "clumsy", "stale", "cold", "shallow", "noisy", "lazy", "grim"]
OTHER = ["the", "film", "a", "plot", "this", "actor", "was", "it", "we", "saw", "and", "cast"]
WORDS = ["[CLS]", *GOOD, *BAD, *OTHER]
LENGTH = 8
REVIEWS, TEST_REVIEWS = 240, 200  # of a site, and held out
REQUIRED = 0.9


def reviews(count: int, words: list[str], seed: int) -> list[dict[str, Any]]:
    """Reviews with two words of praise or blame from `words` among others; label 1 is praise."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        praise = bool(random.integers(2))
        told = random.choice([word for word in words if word in (GOOD if praise else BAD)], 2)
        filled = random.permutation([*told, *random.choice(OTHER, LENGTH - 3)])
        made.append({"input_ids": [WORDS.index(word) for word in ["[CLS]", *filled]], "labels": int(praise)})
    return made


def split(index: int, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the data of site `index` of `count`, and the held-out set that is the same for all.

    A site's reviewers know every `count`-th word of praise and of blame only.
    """
    known = GOOD[index::count] + BAD[index::count]
    return reviews(REVIEWS, known, seed=index), reviews(TEST_REVIEWS, GOOD + BAD, seed=100)


def make_model(mode: str) -> torch.nn.Module:
    """BERT with one layer. With "peft" its random weights stand for a pre-trained model that all sites have."""
    set_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
        num_labels=2,
    )
    model: torch.nn.Module = BertForSequenceClassification(config)
    if mode != "peft":
        return model
    adapter = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=32, target_modules=["query", "key", "value", "dense"])
    adapted: torch.nn.Module = get_peft_model(model, adapter)
    return adapted


def accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(1) == predicted.label_ids).mean())}


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    epochs, mode = int(os.getenv("MAX_EPOCHS", "10")), os.getenv("HF_MODE", "full")
    train_data, test_data = split(index, count)
    model = make_model(mode)
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=epochs,
                per_device_train_batch_size=8,
                gradient_accumulation_steps=2,
                learning_rate=0.005,
                seed=index,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=True,
            ),
            train_dataset=train_data,
            compute_metrics=accuracy,
        )
        trainer.add_callback(
            SwarmCallback(
                syncFrequency=5,  # steps of the optimizer, of two batches each
                minPeers=int(os.getenv("MIN_PEERS", "2")),
                totalEpochs=epochs,
                model=model,
                hfMode=mode,
                trainer=trainer,
                adsValData=test_data,
            )
        )
        trainer.train()
        reached = trainer.evaluate(test_data)["eval_accuracy"]

    print(f"{len(train_data)} reviews here, accuracy {reached:.4f} on {len(test_data)} that no site has trained on")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], model, mode, len(train_data), reached)
    if reached < REQUIRED:
        sys.exit(f"accuracy {reached:.4f} is below {REQUIRED}")


def save(folder: Path, model: Any, mode: str, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model (or adapter)."""
    if mode == "peft":
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(model, save_embedding_layers=False)
    else:
        state = model.state_dict()
    tensors = {name: tensor_file.Tensor.of(value.numpy(), name) for name, value in state.items()}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
