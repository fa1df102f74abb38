"""Model files: the store that keeps them, the server that gives them to other sites, and fetching them from there."""
