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
