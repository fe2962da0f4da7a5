"""Responses that are kept: made, followed, resumed, fetched, listed and deleted."""
