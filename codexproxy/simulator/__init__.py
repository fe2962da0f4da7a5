"""A faithful fake of the Codex backend and of its OAuth issuer, as a real HTTP server.

It refuses what the real one refuses (docs/reference/errors.md), answers by
script, and can break HTTP on purpose. Run ``python -m codexproxy.simulator``,
or use ``process.SimulatorProcess`` and steer it with ``client.SimulatorClient``.
"""
