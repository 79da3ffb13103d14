"""`python -m tests.worker.impatient worker …`: pgsched, but a housekeeper that stands still is soon replaced."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import stalls

if __name__ == "__main__":
    stalls.LONGEST_CALL_S = 1.0
    stalls.STALL_CHECK_S = 0.5
    main()
