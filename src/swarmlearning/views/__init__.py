"""Structured answers for people and programs, from the verified world; `render` turns them into text, in one place."""
