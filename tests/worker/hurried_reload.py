"""`python -m tests.worker.hurried_reload worker …`: pgsched, but a new generation has less time to get ready."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import succession

if __name__ == "__main__":
    succession.READY_WITHIN_S = 3.0
    main()
