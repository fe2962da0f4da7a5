"""Limits concurrent turns, of one key and of the whole host."""
