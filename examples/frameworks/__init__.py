"""One handler in every framework. Each file mounts it in one of them."""
