"""What the processes of one host share: locks, the leader, durable files, small databases."""
