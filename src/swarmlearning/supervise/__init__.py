"""Starting, watching and ending other programs, so that none outlives its starter; knows no type of node."""
