"""A long run of the whole service, with everything going wrong that can: ``python -m tests.soak --seconds 180``.

Many clients of all kinds ask two real workers in front of the simulator, which breaks answers as the
clients' own words say; the login expires every 20 seconds; workers are killed and the master is reloaded. A
calm part follows, in which memory and descriptors have to stay as they are, and at the end everything
is counted: see ``audit``. Then 200 streams stay open for a while (``streams``).
"""
