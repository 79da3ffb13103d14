"""`python -m tests.worker.hurried worker …`: pgsched, but it tells how it does more often."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import announcing

if __name__ == "__main__":
    announcing.STATUS_S = 0.3
    announcing.LEAST_STILL_S = 0.0
    main()
