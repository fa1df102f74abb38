"""Projects: what an operator uploads for a swarm, checked in place, and what is to lie and run on which host.

It knows files and plans; no web, no network, no ledger.
"""
