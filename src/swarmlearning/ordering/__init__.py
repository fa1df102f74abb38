"""Ordering: which bytes are at which height (`log`), and which nodes are present (`presence`).

Two small protocols, implemented by each engine. Engines know bytes and names, never what a contract is.
"""
