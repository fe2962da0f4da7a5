"""Converts JSON schemas to strict mode, and answers back to the caller's schema. Pure."""
