"""The gallery: broken set-ups of real processes, and healthy but unusual ones, which `swarm doctor` tells apart.

`stage.py` starts them and asks the doctor, `exhibits/` are the set-ups, `__main__.py` runs them and prints the table.
"""
