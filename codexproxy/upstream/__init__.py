"""Where turns run: upstreams behind one protocol. No Flask."""
