"""Logging in and out over HTTP, and the watch over logins."""
