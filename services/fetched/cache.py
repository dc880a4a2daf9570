"""Where Hearth keeps what it fetches once: the only module that reads the cache variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Folders of the user's cache."""

    root: Path
    """Everything below it can be deleted at any time and is made again when it is needed."""

    @property
    def models(self) -> Path:
        """Converted models, one folder each, named as on the hub with ``/`` written ``--``."""
        return self.root / "models"

    @property
    def downloads(self) -> Path:
        """Files as their publisher made them, kept so that a conversion can be redone offline."""
        return self.root / "downloads"

    @property
    def examinations(self) -> Path:
        """What the doctor found, a small file for each SAE on each model."""
        return self.root / "examinations"

    @classmethod
    def at(cls, root: str | Path | None = None) -> CacheSettings:
        """The given root, or ``$HEARTH_CACHE``, ``$XDG_CACHE_HOME/hearth``, ``~/.cache/hearth``, in this order."""
        if root is None:
            xdg = os.environ.get("XDG_CACHE_HOME")
            base = Path(xdg) if xdg else Path("~/.cache")
            root = os.environ.get("HEARTH_CACHE") or base / "hearth"
        return cls(root=Path(root).expanduser().absolute())


def environment_with_temp_dir(temp_dir: Path) -> dict[str, str]:
    """This process's environment for a child whose temporary files must lie in ``temp_dir``."""
    return {**os.environ, "TMPDIR": str(temp_dir), "TEMP": str(temp_dir), "TMP": str(temp_dir)}
