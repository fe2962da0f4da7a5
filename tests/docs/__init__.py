"""The documentation is true because it runs."""
