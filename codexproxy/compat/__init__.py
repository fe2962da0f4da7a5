"""Adapts requests and answers to what the upstream accepts and lacks. Pure."""
