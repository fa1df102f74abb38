"""HTTP over mutual TLS: serving an ASGI application, and the identity of the other end of a connection.

This room knows certificates and HTTP. It never knows what an application answers, the ledger or the models.
"""
