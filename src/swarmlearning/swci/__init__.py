"""The Swarm Command Interface: its command language, shell, web mode and Python client."""
