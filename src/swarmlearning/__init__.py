"""Swarm Learning: organisations that may not pool their data train one model together, with no central server.

User scripts import their callback from `swarmlearning.pyt`; `docs/architecture.md` shows the rooms.
"""

__version__ = "0.1.0"
