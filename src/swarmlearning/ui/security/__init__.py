"""Who may do what in the UI, and what keeps others out."""
