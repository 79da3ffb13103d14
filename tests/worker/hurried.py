"""`python -m tests.worker.hurried worker …`: pgsched, but who is being reloaded must soon be ready, and who stands still
keeps the watchdog unfed after a moment.
"""

from __future__ import annotations

from pgsched.cli.main import main
from pgsched.worker import announcing, succession

if __name__ == "__main__":
    succession.READY_WITHIN_S = 3.0
    announcing.LEAST_STILL_S = 0.0
    main()
