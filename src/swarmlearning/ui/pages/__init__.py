"""The pages: one module each, and the one way to make a page (`page.py`)."""
