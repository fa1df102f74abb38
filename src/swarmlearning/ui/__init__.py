"""SLM-UI: the swarm from a browser; reads through `views/`, acts through `operator/`, holds only its own settings."""
