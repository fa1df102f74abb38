"""The Swarm Network node: takes transactions, seals blocks, serves the chain, and watches who is there."""
