"""Chat Completions: requests into turns, events into chunks and final objects."""
