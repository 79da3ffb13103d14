"""`python -m tests.worker.hurried worker …`: pgsched, but given up and told are things sooner."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import announcing, succession

if __name__ == "__main__":
    succession.READY_WITHIN_S = 3.0
    announcing.STATUS_S = 0.3
    announcing.LEAST_STILL_S = 0.0
    main()
