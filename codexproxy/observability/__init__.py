"""What is written down while turns run: log lines without secrets, tied together by a request id."""
