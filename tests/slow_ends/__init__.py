"""Ends that are slow: clients that do not read, and services, hosts and upstreams that drip; and what requests leave."""
