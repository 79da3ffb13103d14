"""Connecting has an end, whatever is at the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.proxy import Mode, Proxy
from pgsched.errors import DatabaseUnavailable
from pgsched.store.connecting import connect_worker
from pgsched.worker.guard import Guard

if TYPE_CHECKING:
    from tests.worker.running import Project


def test_a_server_that_answers_the_login_alone_is_given_up(project: Project, proxy: Proxy) -> None:
    """connect_timeout ends with the login, and the server's own limit is only about to be set: without the guard this
    waits for ever.
    """
    proxy.set(Mode.MUTE)
    with pytest.raises(DatabaseUnavailable):
        connect_worker(project.conninfo, Guard(0.5), name="mute", settings={})
