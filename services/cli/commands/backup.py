"""`hearth backup` and `hearth restore`: what people made, in one file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def backup(
    archive: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to, such as hearth.tar.gz.", show_default=False)
    ],
) -> None:
    """Copy all databases into one file: keys, variants, labels, jobs. The platform may go on running.

    hearth backup hearth-$(date +%F).tar.gz

    Databases on a PostgreSQL server are backed up there: docs/backup.md.
    """
    from services.cli import backups
    from services.cli.failures import fail
    from services.cli.render.console import console
    from services.database.settings import UnusableDatabase

    try:
        names = backups.write(archive)
        on_server = [each.name for each in backups.databases() if each.file is None]
    except (backups.NoBackup, UnusableDatabase, OSError) as problem:
        fail(f"{problem}.", "Databases on a server are backed up there: docs/backup.md.")
    size = archive.stat().st_size / 2**20
    console().print(f"{archive}: {', '.join(names)}, {size:.1f} MB. Whoever has it has what is in them.")
    if on_server:
        console().print(f"Not in it, on a server: {', '.join(on_server)}. Use pg_dump.", style="dim")


def restore(
    archive: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, help="What `hearth backup` wrote.", show_default=False),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Also over databases that are there.")] = False,
) -> None:
    """Put the databases of a backup in place, before the platform is started.

    hearth restore hearth-2026-11-27.tar.gz

    The next start makes the vectors of the served SAEs' features again.
    """
    from services.cli import backups
    from services.cli.failures import fail
    from services.cli.render.console import console
    from services.database.settings import UnusableDatabase

    try:
        names = backups.restore(archive, replace=replace)
    except (backups.NoBackup, UnusableDatabase, OSError) as problem:
        fail(f"{problem}.")
    console().print(f"Restored: {', '.join(names)}. Start the platform: `hearth up`.")
