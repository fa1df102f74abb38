"""What a callback writes in the training log about its parameters, its model, and how good a merged one is."""

from collections.abc import Mapping
from typing import Any

import msgspec

from swarmlearning.client.log import Logger, log_box
from swarmlearning.client.parameters import Parameters
from swarmlearning.tensors.file import Tensor
from swarmlearning.tensors.finite import non_finite
from swarmlearning.tensors.structure import labels


def log_parameters(logger: Logger, known: Parameters, options: Mapping[str, Any], platforms: tuple[str, ...]) -> None:
    """The parameters, and what is wrong with them although they can be used."""
    if not known.total_epochs:
        log_box(logger, "WARNING: totalEpochs is not given", "progress can be shown only as the number of epochs done")
    if options.get("hfMode") is not None and "HF_TRANSFORMER" not in platforms:
        logger.info("hfMode is for Hugging Face models; it is not used here")
    if options.get("maxPeers"):  # scripts pass it, though the original never used it
        logger.warning("maxPeers is not used: there is no limit to the number of peers")
    outer = known.outer
    values = {name: value for name, value in msgspec.to_builtins(known).items() if name != "outer"}
    values["outerOptimizer"] = f"{outer.method} ({outer.rate}, {outer.momentum})" if outer else "none"
    logger.info("Swarm parameters: %s", ", ".join(f"{name}={value}" for name, value in values.items()))


def log_evaluation(logger: Logger, loss: float | None, metric: float | None) -> None:
    """Loss and metric of a merged model; nothing where there are none."""
    known = (("loss", loss), ("metric", metric))
    text = ", ".join(f"{name} {value:.4g}" for name, value in known if value is not None)
    if text:
        logger.info("Merged model on the validation data: %s", text)


def warn_of_non_finite(logger: Logger, tensors: Mapping[str, Tensor]) -> None:
    """Names the tensors that are merged under a condition only."""
    if names := non_finite(tensors):
        logger.warning(
            "These entries of the model hold infinity or NaN: %s. A constant like that is merged only where all "
            "sites have the same values in it; a site whose values differ is left out of the merge",
            labels(names),
        )
