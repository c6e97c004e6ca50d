"""Servers in processes of their own, over TCP, with a client that is not what limits them."""
