"""One handler in every framework: what it takes to mount it, a file for each."""
