"""Chooses the provider of a turn, and retries, fails over or fixes the request when an attempt fails."""
