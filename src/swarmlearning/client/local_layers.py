"""Personal layers: tensors that each site keeps for itself, never sent and never replaced by merged ones."""

from collections.abc import Collection

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.patterns import matched
from swarmlearning.tensors.structure import labels

OPTION = "localLayers"


def local_names(patterns: Collection[str], names: Collection[str], tied: Collection[frozenset[str]]) -> frozenset[str]:
    """Returns the names that a pattern fits; `tied` are groups of names of one tensor each.

    Raises `SwarmError`, naming the pattern, where one fits nothing, where nothing would be left to merge, and where
    one of two names of a tensor would be merged and the other not.
    """
    found = matched(OPTION, patterns, names)
    if patterns and len(found) == len(names):
        all_of_it = [pattern for pattern in patterns if len(matched(OPTION, [pattern], names)) == len(names)]
        raise SwarmError(
            f"{OPTION}: {', '.join(map(repr, all_of_it[:1] or patterns))} fits all tensors of the model, and nothing "
            f"would be merged. There are {labels(sorted(names))}"
        )
    for group in tied:
        inside, outside = sorted(group & found), sorted(group - found)
        if inside and outside:
            pattern = next(each for each in patterns if inside[0] in matched(OPTION, [each], names))
            raise SwarmError(
                f"{OPTION}: {pattern!r} fits {labels(inside)}, which is one tensor with {labels(outside)} (tied "
                "weights): name all of them, or none"
            )
    return found
