"""What wsnursery costs, beside a hand-written loop and other libraries: `python -m benchmarks`."""
