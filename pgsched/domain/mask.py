"""What must not be told in any text: found wherever it stands, and replaced."""

from __future__ import annotations

from typing import NamedTuple

HIDDEN = "***"


class Mask(NamedTuple):
    """Texts that are replaced, and by what; the longest first, as others may be parts of them."""

    replaced: tuple[tuple[str, str], ...] = ()

    def hide(self, text: str) -> str:
        """The text without any of them: of a text that holds none, itself."""
        for secret, shown in self.replaced:
            if secret in text:
                text = text.replace(secret, shown)
        return text


NO_MASK = Mask()
