"""A PyTorch training with our callback that prints its model's structure and the digest of what it ends with."""

import hashlib
import json
import sys

import torch
from torch import nn

from swarmlearning.pyt import SwarmCallback


def make_model() -> nn.Module:
    """Weights, statistics and a count: float32 and int64."""
    return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def structure() -> str:
    """The model's entries as JSON [[name, dtype, shape], …], for `original_client.py`."""
    entries = make_model().state_dict().items()
    return json.dumps([[name, str(value.numpy().dtype), list(value.shape)] for name, value in entries])


def main(rounds: int, min_peers: int) -> None:
    torch.manual_seed(0)
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    callback = SwarmCallback(syncFrequency=2, minPeers=min_peers, model=model, totalEpochs=rounds)
    callback.on_train_begin()
    for epoch in range(rounds):
        for _ in range(2):
            x = torch.randn(16, 8)
            optimizer.zero_grad()
            (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # the stand-ins it is merged with know no limits
            optimizer.step()
            callback.on_batch_end()
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    print("DIGEST", hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
