"""One rank of a DistributedDataParallel training: `python rank.py RANK SIZE RENDEZVOUS SYNCS`.

It prints the loss that it computed for each merged model and the digest of the model that it ends with.
"""

import hashlib
import os
import sys
from contextlib import nullcontext
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from swarmlearning.pyt import SwarmCallback, SwarmError


class Callback(SwarmCallback):
    """Reports its evaluations; that of one rank may fail."""

    def _evaluate(self) -> tuple[float | None, float | None]:
        if str(dist.get_rank()) == os.getenv("FAILING_RANK"):
            raise ValueError("no evaluation here")
        found = super()._evaluate()
        print("LOSS", found[0])
        return found


def main(rank: int, size: int, rendezvous: str, syncs: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = DataLoader(TensorDataset(torch.ones(4, 3), torch.ones(4, 1)), batch_size=4)
    batches = list(map(int, os.getenv("BATCHES", "").split())) or [2 * syncs + 1] * size
    uneven = len(set(batches)) > 1
    together = model.join() if os.getenv("JOIN") else model.no_sync() if uneven else nullcontext()
    try:
        callback = Callback(2, 1, model=model, adsValData=data, lossFunction="MSELoss", totalEpochs=1)
        callback.on_train_begin()
        torch.manual_seed(rank)  # each rank has data of its own
        with together:
            for _ in range(batches[rank]):
                optimizer.zero_grad()
                model(torch.randn(8, 3)).square().mean().backward()
                optimizer.step()
                callback.on_batch_end()
        callback.on_train_end()
    except SwarmError as error:
        print(f"SwarmError: {error}")
        if os.getenv("ALONE"):  # no other notices it as long as this one is there
            end(1)
        store = dist.FileStore(f"{rendezvous}.failed", size)  # type: ignore[attr-defined]
        store.set(str(rank), "")
        store.wait([str(each) for each in range(size)])  # all have noticed it while all are there
        end(1)
    state = model.module.state_dict()
    print("NAMES", *state)
    print("DIGEST", hashlib.sha256(b"".join(value.numpy().tobytes() for value in state.values())).hexdigest())
    print("OVER", callback.training_over)
    end(0)


def end(status: int) -> NoReturn:
    """Without the end of the interpreter: a thread of gloo may still hold a tensor then, and to drop it aborts."""
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
