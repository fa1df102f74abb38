"""Parts of PyTorch models, and their bits, for tests of its callback."""

import torch
from torch import nn


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Wrapper(nn.Module):
    """As `torch.compile` wraps a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module
