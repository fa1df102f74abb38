"""The Swarm Learning node: stands between one ML process and the swarm, stores, serves, fetches and merges models."""
