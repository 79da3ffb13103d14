"""`python -m tests.worker.impatient_reload worker …`: pgsched, but its preflight waits for no lock for long."""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import preflight

if __name__ == "__main__":
    preflight.LIMITS["lock_timeout"] = "500ms"
    main()
