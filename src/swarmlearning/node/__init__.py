"""The common parts of all kinds of nodes: UID and place, logs, the verified chain, signing and sending transactions.

This room knows the ledger and an SN's API. It never knows what a particular node type is for.
"""
