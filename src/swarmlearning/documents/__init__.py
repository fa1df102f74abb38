"""YAML documents that people write: read with the line of each value, checked, and refused with what is wrong where."""
