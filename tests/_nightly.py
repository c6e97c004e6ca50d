"""Whether what takes too long for every change runs: `.ci/nightly` sets WSNURSERY_NIGHTLY."""

import os

NIGHTLY = bool(os.environ.get("WSNURSERY_NIGHTLY"))
