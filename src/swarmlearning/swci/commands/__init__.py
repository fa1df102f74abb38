"""What each command does: a function for each form in `table.py`, which gets the session and the form's arguments."""
