"""`swarm doctor`: what is wrong, whose fault it is, and what to do.

Every examination is a function from facts to findings (`findings.py`). What is read from a host's own files
(`offline.py` and what it calls) needs no network; the network is examined from here (`contact.py`, `sight.py`) and, by
asking the nodes, from each of them (`asking.py`); `matrix.py` says from who reaches whom where the fault is.
"""
