"""Stores the token pair: file, external login, environment."""
