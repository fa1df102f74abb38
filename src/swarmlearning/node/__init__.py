"""What every kind of node does: keep its UID and place, log, follow and verify the chain, sign and send transactions.

This room knows the ledger and an SN's API. It never knows what a particular node type is for.
"""
