"""Licenses: signed documents, the server that lends tokens of their features to nodes, and its client."""
