"""What clients speak: JSON into turns, events into bytes. No Flask, no I/O."""
