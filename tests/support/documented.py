"""Arguments that every callback refuses, with the whole documented text: (keyword arguments, text)."""

from fractions import Fraction
from typing import Any

import numpy as np

ADAPTIVE = "For adaptive sync, valid adsValData is mandatory and a positive adsValBatchSize if applicable"
MODES = "Allowed values: ['inactive', 'active', 'snapshot']"
METHODS = "Allowed values: ['mean', 'coordmedian', 'geomedian']"
WEIGHTAGE = "Node weightage should be a number between 1-100. Provided value: "
FRACTIONS = (1.9, 99.5, 1.0000001, np.float32(1.5), Fraction(19, 10), "1.9")

COMMON: list[tuple[dict[str, Any], str]] = [
    *(
        ({"syncFrequency": x}, "syncFrequency has to be a positive integer")
        for x in (0, -1, None, "x", float("inf"), float("nan"), 1.5, "1.5", True, Fraction(3, 2))
    ),
    *(({"minPeers": x}, "minPeers have to be a positive integer") for x in (0, -3, None, "", [2], 2.9)),
    *(({"trainingContract": x}, "Invalid Training Contract") for x in (None, "", "  ", 5)),
    *(({"totalEpochs": x}, "totalEpochs value is not a positive integer") for x in (0, -1, "many", 9.99)),
    *(
        ({"checkinModelOnTrainEnd": x}, f"Invalid value checkinModelOnTrainEnd: {x}. {MODES}")
        for x in ("Snapshot", "", None, 3)
    ),
    *(({"nodeWeightage": x}, f"{WEIGHTAGE}{x}") for x in (0, 101, None, "heavy", float("nan"))),
    *(({"nodeWeightage": x}, f"{WEIGHTAGE}{x}, which is not a whole number: round it") for x in FRACTIONS),
    ({"nodeWeightage": 0.5}, f"{WEIGHTAGE}0.5"),
    *(
        ({"trainingSamples": x}, f"trainingSamples has to be a positive integer; it is {x}")
        for x in (0, -1, float("nan"), float("inf"), "many", 0.5, True)
    ),
    ({"trainingSamples": 2**53}, f"trainingSamples has to be at most {2**53 - 1}; it is {2**53}"),
    *(({"mergeMethod": x}, f"Invalid value mergeMethod: {x}. {METHODS}") for x in ("median", "", None)),
    ({"useAdaptiveSync": True}, ADAPTIVE),
    ({"useAdaptiveSync": "False"}, "useAdaptiveSync has to be True or False. Provided value: 'False'"),
    ({"nodeWeigthage": 3}, "Unknown parameter nodeWeigthage. Did you mean nodeWeightage?"),
    ({"total_epochs": 3}, "Unknown parameter total_epochs. Did you mean totalEpochs?"),
    ({"sync_frequency": 3}, "Unknown parameter sync_frequency. Did you mean syncFrequency?"),
    ({"minpeers": 3}, "Unknown parameter minpeers. Did you mean minPeers?"),
    ({"MERGEMETHOD": "mean"}, "Unknown parameter MERGEMETHOD. Did you mean mergeMethod?"),
]


def of_platforms(*allowed: str) -> list[tuple[dict[str, Any], str]]:
    """Returns what every callback refuses, for these platforms."""
    invalid = "Invalid ml platform type: {}. Allowed values: " + str(list(allowed))
    twice = "Parameter ml_platform is given twice, under two spellings"
    return [
        *COMMON,
        ({"ml_platform": "CAFFE"}, invalid.format("CAFFE")),
        ({"mlPlatform": allowed[0].lower()}, invalid.format(allowed[0].lower())),
        ({"mlPlatform": allowed[0], "ml_platform": allowed[0]}, twice),
    ]
