"""Counts and estimates tokens, and charges turns for them. Pure."""
