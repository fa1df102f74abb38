"""Tasks: what operators define once, and SWOPs carry out. Entries of the world: `task/<name>`.

This page has the names that readers need: `tasks.task(world, name)`, `tasks.chain(world, name)`, ….
"""

from swarmlearning.ledger.contracts.tasks.state import ROOT, Task, TypeOfTask, chain, digest_of, lines, task, tasks

__all__ = ["ROOT", "Task", "TypeOfTask", "chain", "digest_of", "lines", "task", "tasks"]
