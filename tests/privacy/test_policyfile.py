"""A site's privacy policy as a file."""

import pytest

from swarmlearning.documents.faults import DocumentError
from swarmlearning.privacy.policy import Lock
from swarmlearning.privacy.policyfile import PolicyFile, read_lock

NOISY = """
norm: 1.5
noise: 1.1
epsilon: 8
delta: 1e-6
protects: whole-change-per-round
outside: losses-metrics-weights
"""
DIGEST = "ab" * 32


def test_a_policy_that_only_clips_is_one_line() -> None:
    assert read_lock(b"norm: 1.5", "p") == PolicyFile(Lock(1.5), "")


def test_all_keys() -> None:
    text = f"{NOISY}contributors: 3\ninitialModels: [{DIGEST}]\nrecord: /srv/given.jsonl\n"
    lock = Lock(1.5, 1.1, 8.0, 1e-6, 3, frozenset([DIGEST]))
    assert read_lock(text.encode(), "p") == PolicyFile(lock, "/srv/given.jsonl")
    assert "whole change of a round is clipped to L2 norm 1.5" in lock.text
    assert "Losses, metrics and weights that the script reports are outside this" in lock.text


@pytest.mark.parametrize("key", ["epsilon", "delta", "protects", "outside"])
def test_noise_without_what_belongs_to_it_is_a_fault(key: str) -> None:
    text = "".join(f"{line}\n" for line in NOISY.splitlines() if not line.startswith(key))
    with pytest.raises(DocumentError, match=f"{key} is missing: with noise"):
        read_lock(text.encode(), "p")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("noise: 1", "norm"),
        ("norm: 0", "norm"),
        ("norm: .inf", "norm"),
        ("norm: nan", "norm"),
        ("norm: 1\nnoise: 0.001", "protects nothing"),
        ("norm: 1\nepsilon: 3", "with noise only"),
        ("norm: 1\ncontributors: 0", "contributors"),
        ("norm: 1\ninitialModels: [abc]", "digest of 64 hexadecimal digits"),
        ("norm: 1\nclip: 3", "clip"),
        (NOISY.replace("whole-change-per-round", "records"), "whole-change-per-round"),
        (NOISY.replace("1e-6", "0.5"), "delta"),
    ],
)
def test_what_is_wrong_is_named(text: str, fault: str) -> None:
    with pytest.raises(DocumentError, match=fault):
        read_lock(text.encode(), "policy.yaml")
