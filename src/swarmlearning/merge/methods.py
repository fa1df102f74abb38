"""The merge methods by name. To add one: write a function from open models to a plan, and enter it here.

`docs/extending.md` has an example, and lists where else its name has to be known.
"""

from collections.abc import Callable
from typing import Final

from swarmlearning.merge.coordmedian import coordmedian
from swarmlearning.merge.geomedian import geomedian
from swarmlearning.merge.mean import mean
from swarmlearning.merge.streaming import Models, Plan

Method = Callable[[Models], Plan]

METHODS: Final[dict[str, Method]] = {"mean": mean, "coordmedian": coordmedian, "geomedian": geomedian}

RANGED: Final[dict[str, Method]] = {"mean": mean, "coordmedian": coordmedian, "geomedian": mean}
"""How a range of the models is merged by itself, given the coefficients, by the methods of which it can be: none reads
the models beforehand, and each element depends on nothing but the models' and the previous result's in its place."""
