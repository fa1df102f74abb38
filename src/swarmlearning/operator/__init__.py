"""Operators' acts on the ledger, from the command line, SWCI or the UI: compose, sign, send, explain."""
