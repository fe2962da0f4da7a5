"""Detects which client sent a request."""
