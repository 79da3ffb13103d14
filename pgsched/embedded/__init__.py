"""A private Postgres for development and tests: started when first needed, stopped when its last user is gone.

Not for production: one machine, one user, no backups, no tuning. Never touches a server that somebody else uses, and
changes nothing of the host but its own folder.
"""

from pgsched.embedded.server import NOT_FOR_PRODUCTION, embedded_server, is_embedded

__all__ = ["NOT_FOR_PRODUCTION", "embedded_server", "is_embedded"]
