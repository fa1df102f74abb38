"""Tasks as operators write them: files, the lines that the ledger keeps of them, and their definitions. Pure."""
