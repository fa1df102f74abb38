"""The messages of the local channel (version 1).

The ML process always begins: it sends `Open`, `Sync` or `Close` and then reads until the answer that ends the
exchange (`Opened`, `Synced`, `Closed`, or `Failed`). While an exchange is open the SL may send, any number of times,
`Merged` (load this model, evaluate it, answer `Evaluated` or `EvaluationFailed`) and `Waiting` (a line for the
training log). `Progress` and `Kill` are one-way.

    ML                                  SL
    Open ─────────────────────────────▶
         ◀───────────────────────────── Opened
    Sync(file) ───────────────────────▶
         ◀───────────────────────────── Waiting*
         ◀───────────────────────────── Merged(file)
    Evaluated ────────────────────────▶
         ◀───────────────────────────── Synced(next_interval, training_over)

File names are plain names inside the directory that holds the socket, so both sides may see that directory under
different paths (containers). The SL owns a file named in `Sync` or `Close` from the moment it reads the message; a
file named in `Merged` stays until the ML process has answered. When there is a file `SPARE_FILE`, whose content nobody
needs any more, the ML process may rename it and write the next model into it: the disk's pages are there already, which
is faster than a new file.
"""

from typing import Annotated, TypeAlias

import msgspec

from swarmlearning.choices import CheckinMode, MergeMethod, OuterMethod, Role

VERSION = 1
SPARE_FILE = "spare.safetensors"


class Message(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """Base of all messages; on the wire `{"type": "<class name>", ...}`."""


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Name, safetensors dtype tag (`F32`, `BF16`, `I64`, …), shape and role of one model entry."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: Role = ""


Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")]


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Digests of what is not merged but has to be the same at all sites; empty where there is none.

    `frozen`: tensors that are not trained. `classes`, `features`: what positions in the model's tensors stand for.
    """

    frozen: Digest = ""
    classes: Digest = ""
    features: Digest = ""


class OuterOptimizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outer optimizer that the script asks for; learning rate and momentum are decimals (`outer.py`)."""

    method: OuterMethod
    rate: str
    momentum: str


class Open(Message, frozen=True, tag=True, omit_defaults=True):
    """Opens the training session; sent once on each connection, before anything else.

    `holds` is the digest of the merged model that the ML process trains from; empty when it starts.
    `training_samples` is 0 where it is not known. `structure` states the role of all tensors or of none.
    """

    training_contract: str
    sync_frequency: int
    min_peers: int
    merge_method: MergeMethod
    checkin_model_on_train_end: CheckinMode
    node_weightage: int
    use_adaptive_sync: bool
    total_epochs: int
    ml_platform: str
    structure: tuple[TensorSpec, ...]
    holds: str = ""
    fixed: Fixed = Fixed()
    training_samples: int = 0
    outer: OuterOptimizer | None = None
    version: int = VERSION

    @property
    def specs(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, dtype tag and shape of each entry of `structure`."""
        return [(spec.name, spec.dtype, spec.shape) for spec in self.structure]

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each entry of `structure` that has one, by name."""
        return {spec.name: spec.role for spec in self.structure if spec.role}


class Sync(Message, frozen=True, tag=True):
    """The ML process reached a sync point; its parameters are in `file`."""

    session: str
    sequence: int
    file: str


class Close(Message, frozen=True, tag=True):
    """Local training has ended; `file` holds what this node goes on contributing (see its check-in mode)."""

    session: str
    sequence: int
    file: str


class Kill(Message, frozen=True, tag=True):
    """The ML process leaves without waiting for the swarm; one-way, the last message."""

    session: str
    ok: bool
    message: str


class Evaluated(Message, frozen=True, tag=True):
    """The merged model is loaded; loss and metric are null where no validation data was given."""

    session: str
    sequence: int
    loss: float | None
    metric: float | None
    epochs: int
    total_epochs: int


class EvaluationFailed(Message, frozen=True, tag=True):
    """Loading or evaluating the merged model raised; the ML process gives up."""

    session: str
    sequence: int
    message: str


class Progress(Message, frozen=True, tag=True):
    """The progress of local training: batches and epochs since the start; one-way, at most one a second.

    The speeds are those of training alone, without syncs; `eta_seconds` is the time left, with them. None: not known.
    """

    session: str
    steps: int
    epochs: int
    batches_per_second: float | None = None
    samples_per_second: float | None = None
    eta_seconds: float | None = None


class Opened(Message, frozen=True, tag=True):
    """Answer to `Open`."""

    session: str


class Merged(Message, frozen=True, tag=True):
    """Load the merged model in `file`, whose digest is `model`, evaluate it, and answer."""

    session: str
    sequence: int
    file: str
    model: str = ""


class Synced(Message, frozen=True, tag=True):
    """Answer to `Sync`: batches until the next sync (>= 1), and whether the swarm's training is over."""

    session: str
    sequence: int
    next_interval: int
    training_over: bool


class Closed(Message, frozen=True, tag=True):
    """Answer to `Close`: training is over everywhere and the final model has been loaded."""

    session: str
    sequence: int


class Waiting(Message, frozen=True, tag=True):
    """A line for the training log: which sites are waited for and since when, or the outcome of this site's model."""

    text: str


class Failed(Message, frozen=True, tag=True):
    """The request failed for good; `message` contains what, where and what to do."""

    message: str


FromML: TypeAlias = Open | Sync | Close | Kill | Evaluated | EvaluationFailed | Progress
FromSL: TypeAlias = Opened | Merged | Synced | Closed | Waiting | Failed
