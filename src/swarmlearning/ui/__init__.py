"""SLM-UI: a process of its own that shows a swarm in the browser and acts in it for people.

It reads its own verified copy of the ledger (`network/`), acts as an operator's node does (`operator/`), and keeps only
its users, sessions and settings (`store/`); what concerns the swarm is on the ledger. A page is a function that returns
a structure of data, rendered as HTML or given as JSON (`pages/page.py`). Who may use which path is one table
(`security/roles.py`), checked before anything of a request is read. It never knows how nodes work.
"""
