"""`python -m chaos.sabotage KIND worker ...`: pgsched with one of its guards taken out. The checker must notice.

fence: completions are written whoever has the execution. grace: after an outage whoever comes back first calls all
others dead. beat: nobody beats.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pgsched.store import statement
from pgsched.worker import housekeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Patch: TypeAlias = "Callable[[object, str, object], None]"
SQL = Path(statement.__file__).parent / "sql"


def without_fence(patch: Patch) -> None:
    """Nothing is asked of the row but to be there."""
    composed = statement.composed
    fence = statement.without_comments((SQL / "is_fenced.sql").read_text(encoding="utf-8"))

    def unfenced(text: str, known: Mapping[str, Any]) -> Any:
        return composed(text.replace(fence, "%(poller)s::text is not null"), known)

    patch(statement, "composed", unfenced)


def without_grace(patch: Patch) -> None:
    """Sweeps are not put off after an outage: who is back first sweeps before anybody has beaten."""
    patch(housekeeper, "YOUNG_SERVER_S", -1.0)
    patch(housekeeper.Housekeeper, "_settle", housekeeper.Housekeeper._recover_dead)


def without_beats(patch: Patch) -> None:
    patch(housekeeper.Housekeeper, "_beat_for_living", lambda _self: None)


KINDS: dict[str, Callable[[Patch], None]] = {
    "fence": without_fence,
    "grace": without_grace,
    "beat": without_beats,
}


def main() -> None:
    KINDS[sys.argv.pop(1)](setattr)
    from pgsched.cli.main import main as pgsched  # after the change

    pgsched()


if __name__ == "__main__":
    main()
