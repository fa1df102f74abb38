"""YAML documents that people write: read with the line of every value, checked, and refused with what is wrong where."""
