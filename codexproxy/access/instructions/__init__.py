"""Recognises official instructions, and adds them where a request needs them."""
