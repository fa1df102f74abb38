"""Choices that users make by name: the same words in a training script, on the local channel and on the ledger."""

from typing import Final, Literal, TypeAlias

DEFAULT_CONTRACT: Final = "defaultbb.cqdb.sml.hpe"
"""The training contract of scripts that name none. It needs no operator to create it: every organisation may train."""

MergeMethod: TypeAlias = Literal["mean", "coordmedian", "geomedian"]
"""Methods of merging models; `merge/methods.py` has a function for each."""

Transfer: TypeAlias = Literal["float32", "bfloat16", "int8", "int4"]
"""How the values of a site's change travel to those who merge; `float32`: whole models, as the script has them."""

TransferBack: TypeAlias = Literal["float32", "int8"]
"""How what was merged travels back to all sites; `float32`: as a whole model."""

OuterMethod: TypeAlias = Literal["nesterov", "adam"]
"""Outer optimizers: steps that take a round's merge as a direction; `merge/outer.py` has their arithmetic."""

CheckinMode: TypeAlias = Literal["inactive", "snapshot", "active"]
"""The models that a site contributes once its own training has ended."""

Role: TypeAlias = Literal["", "parameter", "buffer", "frozen"]
"""What a tensor is to a training: trained by gradients; state that training changes otherwise, such as statistics of a
batch normalisation; or not trained. Empty: the script does not state it."""

DEFAULT_TASKRUNNER: Final = "defaulttaskbb.taskdb.sml.hpe"
"""The taskrunner of profiles and scripts from the original; like the default contract it is there from the start."""

ROOT_TASK: Final = "ROOTTASK"
"""The prerequisite of a task that needs none: a final task that is there from the start."""

TaskType: TypeAlias = Literal["RUN_SWARM", "MAKE_USER_CONTAINER", "MAKE_SWARM_USER_CONTENT", "PULL_IMAGE"]
"""The kinds of work that tasks define."""
