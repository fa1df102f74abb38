"""The contracts: pure functions from a state, a transaction and the block it is in to the next state or a `Rejection`."""
