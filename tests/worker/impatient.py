"""`python -m tests.worker.impatient worker …`: pgsched, but what stands still, or is gone, is soon noted."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import stalls, terminal

if __name__ == "__main__":
    stalls.LONGEST_CALL_S = 1.0
    stalls.STALL_CHECK_S = 0.5
    terminal.CLOSING_S = 0.5
    main()
