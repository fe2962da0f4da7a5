"""The benchmark: a load source, a load client, the servers between them, and the goals they are held to.

``python -m bench --help`` says how to run it; ``docs/performance.md`` says what it found.
"""
