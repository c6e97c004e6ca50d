"""What wsnursery costs, compared with a hand-written loop and other libraries."""
