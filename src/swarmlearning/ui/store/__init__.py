"""What the UI itself keeps: users, their sessions, settings, in one SQLite file."""
