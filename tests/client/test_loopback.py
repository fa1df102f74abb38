"""Callbacks without a swarm (SWARM_LOOPBACK), and the logger that they use when none is given."""

import pytest

from support.callbacks import ArrayCallback, Log, array_model, run_alone
from swarmlearning.client.errors import SwarmError


@pytest.mark.usefixtures("loopback")
def test_a_loopback_callback_needs_no_node_and_leaves_the_model_alone(log: Log) -> None:
    mine = array_model(3)
    callback = ArrayCallback(1, 2, model=mine, logger=log.logger, totalEpochs=2)
    banner = [text for text in log.texts("INFO") if text.startswith("***")]
    assert len(banner) == 3
    assert "SWARM_LOOPBACK" in banner[1]
    assert len({len(line) for line in banner}) == 1
    log.lines.clear()
    callback.on_train_begin()
    for epoch in range(2):
        callback.on_batch_end()
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    assert not callback.training_over
    assert callback._pace.epochs == 2
    assert {level for level, _ in log.lines} == {"DEBUG"}
    assert (mine["w"] == 3).all()


@pytest.mark.parametrize(
    ("value", "alone"), [("true", True), ("TRUE", True), ("1", False), ("false", False), ("", False)]
)
def test_only_the_word_true_in_any_case_switches_loopback_on(
    monkeypatch: pytest.MonkeyPatch, log: Log, value: str, alone: bool
) -> None:
    monkeypatch.setenv("SWARM_LOOPBACK", value)
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    if alone:
        ArrayCallback(1, 2, model=array_model(), logger=log.logger)
    else:
        with pytest.raises(SwarmError, match="SWARM_CHANNEL is not set"):
            ArrayCallback(1, 2, model=array_model(), logger=log.logger)


def test_the_default_logger_prints_each_line_once_to_stdout() -> None:
    script = """
import logging, os
logging.basicConfig(level=logging.DEBUG)
os.environ["SWARM_LOOPBACK"] = "true"
from support.callbacks import ArrayCallback
for _ in range(3):
    ArrayCallback(1, 2, model={}, totalEpochs=3).logger.info("hello")
"""
    run = run_alone(script)
    hello = [line for line in run.stdout.splitlines() if line.endswith("hello")]
    assert len(hello) == 3
    stamp, *rest = hello[0].split(" : ")
    assert rest == ["SwarmCallback", "INFO", "hello"]
    assert len(stamp) == len("2025-01-01 00:00:00,000")
    assert run.stderr == ""
