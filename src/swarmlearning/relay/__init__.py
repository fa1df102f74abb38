"""Carries connections to nodes that nobody can connect to: both ends connect to an SN, and it joins them."""
