"""Stored responses: what the stateless backend forgets and callers come back for."""
