"""One caller does not touch another: whatever Ann sends, Bob is served as before."""
