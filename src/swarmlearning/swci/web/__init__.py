"""SWCI's web mode: the two endpoints of the original, and `/v1`, over mutual TLS, for operators of one organisation."""
