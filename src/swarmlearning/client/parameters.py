"""The documented parameters of a callback: names, defaults, checks and error texts.

Users know these from the original product, so names are camelCase and texts are kept. Two things differ on purpose: a
keyword that is not known is an error with a suggestion (the original ignored it), and both spellings that its
documents use for one parameter are understood (`ml_platform`/`mlPlatform`, `adsValBatchSize`/`adsValBatch_size`).
"""

import difflib
import math
from collections.abc import Mapping, Set
from typing import Any, SupportsFloat, cast, get_args

import msgspec

from swarmlearning import outer
from swarmlearning.channel.messages import OuterOptimizer
from swarmlearning.choices import DEFAULT_CONTRACT as DEFAULT_CONTRACT
from swarmlearning.choices import CheckinMode, MergeMethod
from swarmlearning.client.errors import SwarmError

CHECKIN_MODES: tuple[str, ...] = ("inactive", "active", "snapshot")
MERGE_METHODS: tuple[str, ...] = get_args(MergeMethod)

MOST_SAMPLES = 2**53 - 1

POSITIONAL = frozenset({"syncFrequency", "minPeers", "trainingContract"})
COMMON_KEYWORDS = frozenset(
    {
        "adsValBatchSize",
        "adsValData",
        "checkinModelOnTrainEnd",
        "hfMode",
        "localLayers",
        "logger",
        "maxPeers",
        "mergeMethod",
        "ml_platform",
        "nodeWeightage",
        "outerLearningRate",
        "outerMomentum",
        "outerOptimizer",
        "totalEpochs",
        "trainingSamples",
        "useAdaptiveSync",
    }
)
METHODS_OF_THE_ORIGINAL = (  # product, which subclasses of its callbacks override
    "_swarmOnTrainBegin",
    "_swarmOnBatchEnd",
    "_swarmOnEpochEnd",
    "_swarmOnTrainEnd",
    "_saveModelWeightsToDict",
    "_loadModelWeightsFromDict",
    "_calculateLocalLossAndMetrics",
    "_calculateLocalLoss",
)
OF_CONTRACTS = ("transfer",)
"""What users look for here, and operators lay down for a contract."""
OTHER_SPELLINGS = {"mlPlatform": "ml_platform", "adsValBatch_size": "adsValBatchSize"}


class Parameters(msgspec.Struct, frozen=True, rename="camel"):
    """Checked parameters. `total_epochs` and `training_samples` are 0 where none were given."""

    sync_frequency: int
    min_peers: int
    training_contract: str
    total_epochs: int
    checkin_model_on_train_end: CheckinMode
    node_weightage: int
    merge_method: MergeMethod
    use_adaptive_sync: bool
    ml_platform: str
    training_samples: int
    outer: OuterOptimizer | None = None


def known(keywords: Mapping[str, Any], platform_keywords: Set[str]) -> dict[str, Any]:
    """Returns the keyword arguments under their documented spelling. Raises `SwarmError` for an unknown one."""
    names = COMMON_KEYWORDS | platform_keywords
    options: dict[str, Any] = {}
    for given, value in keywords.items():
        name = OTHER_SPELLINGS.get(given, given)
        if name not in names:
            raise SwarmError(f"Unknown parameter {given}. {_suggestion(given, names | POSITIONAL)}")
        if name in options:
            raise SwarmError(f"Parameter {name} is given twice, under two spellings")
        options[name] = value
    return options


def check(
    sync_frequency: Any, min_peers: Any, training_contract: Any, options: Mapping[str, Any], platforms: tuple[str, ...]
) -> Parameters:
    """Checks parameters in the documented order: `options` as `known` returns them; the first platform is the default.

    Raises `SwarmError` with the documented text at the first parameter that is wrong.
    """
    return Parameters(
        sync_frequency=positive(sync_frequency, "syncFrequency has to be a positive integer"),
        min_peers=positive(min_peers, "minPeers have to be a positive integer"),
        training_contract=_contract(training_contract),
        total_epochs=_total_epochs(options.get("totalEpochs")),
        checkin_model_on_train_end=_checkin_mode(options),
        node_weightage=_weightage(options.get("nodeWeightage", 1)),
        merge_method=_merge_method(options.get("mergeMethod", "mean")),
        use_adaptive_sync=_adaptive(options),
        ml_platform=_platform(options.get("ml_platform", platforms[0]), platforms),
        training_samples=_training_samples(options.get("trainingSamples")),
        outer=_outer(options),
    )


def _suggestion(given: str, names: Set[str]) -> str:
    if given.lower() in OF_CONTRACTS:
        return (
            "How values travel is laid down for all sites of a contract, not in a script: swarm contract create "
            f"CONTRACT --{given.lower()} int8; to try it on one machine: swarm run -n 3 --{given.lower()} int8 -- ..."
        )
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1)
    if close:
        return f"Did you mean {by_lower[close[0]]}?"
    return f"Known parameters: {', '.join(sorted(names))}"


def _integer(value: Any) -> int | None:
    """Returns a whole number, also from a text or a float; None for anything else, fractions too."""
    try:
        number = int(value)
        return number if isinstance(value, str) or (number == value and not isinstance(value, bool)) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _could_be_rounded(value: Any) -> bool:
    """True for fractions, of any type and in texts, that round to a weightage."""
    try:
        return 1 <= float(value) <= 100 and not float(value).is_integer()
    except (TypeError, ValueError, OverflowError):
        return False


def positive(value: Any, otherwise: str) -> int:
    """Returns the whole number, at least 1. Raises `SwarmError` with the text `otherwise` for anything else."""
    number = _integer(value)
    if number is None or number < 1:
        raise SwarmError(otherwise)
    return number


def proximal_mu(value: Any) -> float:
    """Returns the strength of FedProx's pull, 0.0 where there is none. Raises `SwarmError`."""
    if value is None:
        return 0.0
    is_number = isinstance(value, SupportsFloat) and not isinstance(value, bool)
    if not is_number or not 0 <= float(value) < math.inf:
        raise SwarmError(f"proximalMu has to be a number, 0 or more; it is {value!r}")
    return float(value)


def _contract(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SwarmError("Invalid Training Contract")
    return value


def _total_epochs(value: Any) -> int:
    return 0 if value is None else positive(value, "totalEpochs value is not a positive integer")


def _training_samples(value: Any) -> int:
    number = 0 if value is None else positive(value, f"trainingSamples has to be a positive integer; it is {value}")
    if number > MOST_SAMPLES:
        raise SwarmError(f"trainingSamples has to be at most {MOST_SAMPLES}; it is {number}")
    return number


def _outer(options: Mapping[str, Any]) -> OuterOptimizer | None:
    """As the SL is told of the outer optimizer, with decimals."""
    name = str(options.get("outerOptimizer", "none")).lower()
    if name == "none":
        if given := sorted({"outerLearningRate", "outerMomentum"} & options.keys()):
            raise SwarmError(f"{' and '.join(given)} need an outerOptimizer: nesterov or adam")
        return None
    method = next((each for each in outer.METHODS if each == name), None)
    if method is None:
        raise SwarmError(f"Invalid value outerOptimizer: {name}. Allowed values: {['none', *outer.METHODS]}")
    if options.get("useAdaptiveSync"):
        raise SwarmError(
            "useAdaptiveSync cannot be used with an outerOptimizer: its momentum would mix changes of intervals that "
            "differ by up to 16 times. Use a fixed syncFrequency"
        )
    rate, momentum = outer.DEFAULTS[method]
    try:
        what = "outerLearningRate"
        rate = outer.rate(options.get(what, rate))
        what = "outerMomentum"
        momentum = outer.momentum(options.get(what, momentum))
    except ValueError as error:
        raise SwarmError(f"{what} has to be {error}") from None
    return OuterOptimizer(method, rate, momentum)


def _checkin_mode(options: Mapping[str, Any]) -> CheckinMode:
    """By default `snapshot`; with an outer optimizer, whose momentum a snapshot would misuse, `inactive`."""
    stepped = str(options.get("outerOptimizer", "none")).lower() != "none"
    value = options.get("checkinModelOnTrainEnd", "inactive" if stepped else "snapshot")
    if value == "snapshot" and stepped:
        raise SwarmError(
            "checkinModelOnTrainEnd snapshot cannot be used with an outerOptimizer: the momentum would take the others "
            "back to the snapshot with several times its weight. Use inactive or active"
        )
    if value not in CHECKIN_MODES:
        raise SwarmError(f"Invalid value checkinModelOnTrainEnd: {value}. Allowed values: {list(CHECKIN_MODES)}")
    return cast(CheckinMode, value)


def _weightage(value: Any) -> int:
    number = _integer(value)
    if number is None or not 1 <= number <= 100:
        hint = ", which is not a whole number: round it" if _could_be_rounded(value) else ""
        raise SwarmError(f"Node weightage should be a number between 1-100. Provided value: {value}{hint}")
    return number


def _merge_method(value: Any) -> MergeMethod:
    name = str(value).lower()
    if name not in MERGE_METHODS:
        raise SwarmError(f"Invalid value mergeMethod: {value}. Allowed values: {list(MERGE_METHODS)}")
    return cast(MergeMethod, name)


def _adaptive(options: Mapping[str, Any]) -> bool:
    value, batch_size = options.get("useAdaptiveSync", False), options.get("adsValBatchSize")
    if value not in (True, False):  # the text "False" would otherwise count as true
        raise SwarmError(f"useAdaptiveSync has to be True or False. Provided value: {value!r}")
    otherwise = "For adaptive sync, valid adsValData is mandatory and a positive adsValBatchSize if applicable"
    if value and options.get("adsValData") is None:
        raise SwarmError(otherwise)
    if value and batch_size is not None:
        positive(batch_size, otherwise)
    return bool(value)


def _platform(value: Any, platforms: tuple[str, ...]) -> str:
    if value not in platforms:
        raise SwarmError(f"Invalid ml platform type: {value}. Allowed values: {list(platforms)}")
    return cast(str, value)
