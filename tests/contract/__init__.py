"""One test or more for every rule of the contract."""
