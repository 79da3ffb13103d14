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

    def beginning(self, text: str, limit: int) -> str:
        """The first so many characters (a few less where it hides something), without any of them: none is cut in two.

        Looks at no more of it: a text may have 100 MB.
        """
        shown = self.hide(text[: limit + self._longest])
        is_whole = len(text) <= limit + self._longest
        return shown[: limit if is_whole else min(limit, len(shown) - self._longest)]

    def end(self, text: str, limit: int) -> str:
        """As `beginning`, of its last ones."""
        shown = self.hide(text[-(limit + self._longest) :])
        is_whole = len(text) <= limit + self._longest
        return shown[max(len(shown) - limit, 0 if is_whole else self._longest) :]

    @property
    def _longest(self) -> int:
        return len(self.replaced[0][0]) if self.replaced else 0


NO_MASK = Mask()
