"""gunicorn as we run it: its options, its worker, its connections, and how requests end when it stops."""
