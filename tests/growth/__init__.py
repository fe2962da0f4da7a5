"""How cost grows with the size of whatever somebody else chooses."""
