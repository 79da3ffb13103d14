"""`python -m tests.worker.tidy worker …`: pgsched, but the indexes are looked after soon after the start."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import upkeep

if __name__ == "__main__":
    upkeep.FIRST_TRY_S = 0.1
    main()
