"""The Swarm Network node: accepts transactions, seals blocks, serves the chain, and watches which nodes are present."""
