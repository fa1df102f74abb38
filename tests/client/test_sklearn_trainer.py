"""The loop over batches for scikit-learn, with a callback's hooks in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDClassifier

from support.callbacks import Join, Log
from support.fake_sl import FakeSL
from swarmlearning.channel.messages import Close, Evaluated, Sync
from swarmlearning.sklearn import SwarmCallback, SwarmError, SwarmSklearnTrainer

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 2
CLASSES = np.array([0, 1])


def test_the_scikit_learn_trainer_trains_as_a_loop_over_batches_does(tmp_path: Path, join: Join) -> None:
    model, alone = SGDClassifier(random_state=0), SGDClassifier(random_state=0)
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=2, model=model, initData=(X[:1], Y[:1]), classes=CLASSES)
        trainer = SwarmSklearnTrainer(swarmCallback=callback, model=model)
        assert trainer.fit(X, Y, batch_size=16, epochs=2, classes=CLASSES) is model
        assert (len(sl.of(Sync)), len(sl.of(Close))) == (1 + 3, 1)  # of 2 x 3 batches
        assert [message.epochs for message in sl.of(Evaluated)] == [0, 0, 1, 1, 2]
    alone.partial_fit(X[:1], Y[:1], classes=CLASSES)
    for _ in range(2):
        for start in (0, 16, 32):
            alone.partial_fit(X[start : start + 16], Y[start : start + 16])
    assert model.coef_.tobytes() == alone.coef_.tobytes()


def test_the_scikit_learn_trainer_stops_when_swarm_training_is_over(tmp_path: Path, join: Join) -> None:
    model = MiniBatchKMeans(2, n_init=1, random_state=0)
    with FakeSL(tmp_path, over_at=1) as sl:
        callback = join(sl, SwarmCallback, model=model, initData=(X[:5],), weight_attrs_is_list=False)
        first = model.cluster_centers_.tobytes()
        SwarmSklearnTrainer(callback, model).fit(X, epochs=5)
    assert model.cluster_centers_.tobytes() == first


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"batch_size": 0}, "batch_size has to be a positive"), ({"epochs": "x"}, "epochs has to be a positive integer")],
)
@pytest.mark.usefixtures("loopback")
def test_the_scikit_learn_trainer_refuses_invalid_arguments(log: Log, arguments: dict[str, Any], text: str) -> None:
    model = SGDClassifier().fit(X, Y)
    trainer = SwarmSklearnTrainer(SwarmCallback(1, 2, model=model, logger=log.logger), model)
    with pytest.raises(SwarmError, match=text):
        trainer.fit(X, Y, **arguments)


@pytest.mark.usefixtures("loopback")
def test_the_scikit_learn_trainer_refuses_another_model_than_its_callbacks(log: Log) -> None:
    callback = SwarmCallback(1, 2, model=SGDClassifier().fit(X, Y), logger=log.logger)
    with pytest.raises(SwarmError, match="the trainer's model is not the callback's"):
        SwarmSklearnTrainer(callback, SGDClassifier())
