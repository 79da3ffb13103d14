"""`python -m tests.worker.impatient worker …`: pgsched, but a housekeeper that stands still is soon replaced."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import supervisor

if __name__ == "__main__":
    supervisor.LONGEST_CALL_S = 1.0
    supervisor.STALL_CHECK_S = 0.5
    main()
