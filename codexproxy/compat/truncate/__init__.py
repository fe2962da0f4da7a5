"""Ends an answer early: ``stop`` and ``max_tokens``, which the upstream lacks. Pure."""
