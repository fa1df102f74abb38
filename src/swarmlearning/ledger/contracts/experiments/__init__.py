"""Experiments: what organisations note about the runs of training contracts. Since rules version 2.

A run is identified by its contract and its number, as everywhere. Each organisation has its own annotation of a run: a
text, tags, and whether its people want to see the run in lists. So nobody writes over what another organisation has
noted, and nobody hides a run from others; on the ledger a run stays whatever is hidden. Nothing follows from it for a
training. Entries of the world: `annotation/<run>/<organisation>/<contract>`.
"""

from swarmlearning.ledger.contracts.experiments.state import Annotation, annotations, annotations_of

__all__ = ["Annotation", "annotations", "annotations_of"]
