"""Importers: from a source's own files to a shop folder, with every dropped row counted.

`IMPORTERS` is the one list of what can be imported; the command, its help and the documentation are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError
from ..tables.shop import ShopWriter
from . import amazon, complete_journey, generated, movielens, online_retail, table_files
from .base import Importer, ImportRequest, Progress, no_progress
from .report import ImportReport, Ledger, SourceCount

__all__ = ["IMPORTERS", "ImportReport", "ImportRequest", "Importer", "SourceCount", "import_shop"]

IMPORTERS: Mapping[str, Importer] = {
    "complete-journey": complete_journey.IMPORTER,
    "online-retail": online_retail.IMPORTER,
    "amazon-2014": amazon.IMPORTER_2014,
    "amazon-2023": amazon.IMPORTER_2023,
    "movielens": movielens.IMPORTER,
    "csv": table_files.IMPORTER,
    "generated": generated.IMPORTER,
}
"""Importers by the name the command takes."""


def import_shop(
    name: str,
    out: str | Path,
    *,
    source: str | Path | None = None,
    metadata: str | Path | None = None,
    k_core: int = 0,
    column_map: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> ImportReport:
    """Import a source into the shop folder ``out``, whole or not at all.

    Raises:
        ConfigError: no importer of that name, or an option it does not understand.
        ShopError: the source is absent or not what it should be, or ``out`` exists and ``overwrite`` is false.
        ExtraMissingError: a package the source needs is not installed.
    """
    if name not in IMPORTERS:
        raise ConfigError(f"importer: {name!r} is not one of {', '.join(IMPORTERS)}")
    importer = IMPORTERS[name]
    given = {"metadata": metadata, "k_core": k_core, "column_map": column_map}
    for option, value in given.items():
        if value and option not in importer.options:
            flag = {"metadata": "--metadata", "k_core": "--k-core", "column_map": "--map"}[option]
            raise ConfigError(f"{flag}: the importer {name} does not use it; leave it out")
    request = ImportRequest(
        source=_path(source), metadata=_path(metadata), k_core=k_core, column_map=_path(column_map), progress=progress
    )
    ledger = Ledger()
    with ShopWriter(out, overwrite=overwrite) as writer:
        meta = importer.run(request, writer, ledger)
        report = ImportReport(name, ledger.sources(), writer.rows(), ledger.notes)
        writer.finish({**meta, "import": report.as_dict()})
    return report


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
