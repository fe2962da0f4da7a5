"""Reads a request's body: bounded, decompressed and parsed, without holding up other requests."""
