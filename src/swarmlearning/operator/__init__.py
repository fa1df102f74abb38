"""How people act on the ledger, be it from the command line, SWCI or the UI: compose, sign, send, explain."""
