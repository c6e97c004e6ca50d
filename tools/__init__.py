"""Programs for those who work on wsnursery; nothing of them is installed."""
