"""The tables of a version that was published without them: found, or worked out once for all workers, who map them.

A version that comes while requests are answered is worked out by a process of its own, at low priority, so that neither
a core nor the interpreter's lock is taken from the answers. What the tables are is `retrieval.worked`'s.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from .profiling.artefact import read_artefact
from .profiling.errors import ArtefactError, WorkspaceError
from .profiling.files import locked
from .retrieval.state import dotted, recommender_from_state, within
from .retrieval.worked import Worked, open_worked, save_worked, work_out
from .serving.current import SupersededError
from .workspace import KIND

_LOG = logging.getLogger("tasteprint.serving")
_NICE = 10  # a tenth of a core where others want all: lower could take for ever

FOLDER = "mapped"
"""Where the tables lie, under a workspace's ``cache``."""


class Elsewhere:
    """Has tables worked out by a process of its own, which ends when this is told to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def keep_tables(self, workspace: Path, version: str) -> None:
        """Wait for the other process; says in the log how it failed."""
        words = [sys.executable, "-m", "tasteprint.serving_tables", str(workspace), version]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with self._lock:
            if self._stopped:
                return
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(words, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        said, _ = self._process.communicate()
        if self._process.returncode and not self._stopped:
            _LOG.error("version %s could not be worked out beside the answers: %s", version, said[-2000:].strip())

    def stop(self) -> None:
        """End the process, and begin no other."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()


def tables_of(workspace: Path, version: str, *, elsewhere: Elsewhere | None = None) -> Worked | None:
    """The tables of the published version; None where they cannot be kept, so that each works them out for itself.

    Args:
        workspace: its folder
        version: name of what is published
        elsewhere: has them worked out, where this process is answering requests; None = it does so itself

    Raises:
        SupersededError: another version was published meanwhile.
    """
    folder = workspace / "cache" / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".turn"):  # one worker has them worked out, the others find them
            found = open_worked(folder, version=version)
            if found is None:
                (elsewhere.keep_tables if elsewhere else keep_tables)(workspace, version)
                found = open_worked(folder, version=version)
    except (OSError, ArtefactError) as error:
        _LOG.warning("each worker keeps its own copy of the index: %s", error)
        return None
    if found is None:
        if published(workspace) != version:
            raise SupersededError(f"another version than {version} was published meanwhile")
        _LOG.warning("each worker keeps its own copy of the index: version %s was not worked out", version)
    return found


def published(workspace: Path) -> str:
    """Names the published version of a workspace.

    Raises:
        WorkspaceError: nothing was published there.
    """
    try:
        return (workspace / "model" / "CURRENT").read_text(encoding="utf-8").split()[-1][:12]
    except (OSError, ValueError, IndexError) as error:
        raise WorkspaceError(
            f"no workspace at {workspace}; build one: tasteprint build SHOP --workspace {workspace}"
        ) from error


def keep_tables(workspace: Path, version: str) -> None:
    """Work out the tables of the published version and keep them.

    Raises:
        SupersededError: another version was published meanwhile.
        ArtefactError: it cannot be opened, or the folder cannot be written.
    """
    held = read_artefact(workspace / "model", kind=KIND, verify=False)
    if not held.digest.startswith(version):
        raise SupersededError(f"another version than {version} was published meanwhile")
    state = within(dotted(held.arrays), "recommender.")
    model = recommender_from_state(state, held.meta["recommender"], encoder=None)
    save_worked(work_out(model.space, held.tables["items"]), workspace / "cache" / FOLDER, version=version)


def _main(workspace: str, version: str) -> None:
    if hasattr(os, "nice"):
        os.nice(_NICE)
    try:
        keep_tables(Path(workspace), version)
    except SupersededError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    _main(*sys.argv[1:])
