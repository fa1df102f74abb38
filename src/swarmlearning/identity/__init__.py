"""Identities: X.509 certificates and roles, path validation, TLS contexts, signatures, a development CA.

This room never knows the swarm: no nodes, rounds or ledger. What a trusted certificate may do is decided
elsewhere.
"""
