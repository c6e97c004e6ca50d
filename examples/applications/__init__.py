"""Whole applications, each in one file: a chat, a price ticker, a client that comes back."""
