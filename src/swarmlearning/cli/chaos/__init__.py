"""`swarm chaos`: a local swarm under a seeded plan of faults, and a report of what that did to it.

`plan.py` draws the faults of a plan and `sight.py` reads from the ledger when and whom they hit: both pure. `swarm.py`
holds the processes, `relay.py` the network between them; `inject.py` brings the two sides together, `report.py` judges.
"""

ENOUGH = "enough"
"""A file of this name in the run folder ends the script that comes with this command."""
