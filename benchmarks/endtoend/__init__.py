"""Servers in their own processes, over TCP, with a client that is not the bottleneck."""
