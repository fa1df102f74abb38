"""HTTP over mutual TLS: how a node serves an ASGI application and who is at the other end of a connection.

This room knows certificates and HTTP. It never knows what an application answers, the ledger or the models.
"""
