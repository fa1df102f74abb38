"""The network as the UI sees it: the verified ledger, what SNs state, and whoever waits for news of them."""
