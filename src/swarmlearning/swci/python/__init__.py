"""The Python client of SWCI's web mode. It needs nothing but the standard library, and no other part of this tree."""
