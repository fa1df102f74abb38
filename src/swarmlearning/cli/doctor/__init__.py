"""`swarm doctor`: what is wrong, whose fault it is, and what to do.

What is read here from a host's own files (`offline.py` and what it calls) needs no network; the network is examined by
`swarmlearning/doctor/`.
"""
