"""What a command says if it may not write where it would."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..base.errors import ConfigError

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def writing_to(folder: Path, *, advice: str) -> Iterator[None]:
    """Turns the refusal to write in the block into an error with advice.

    Raises:
        ConfigError: ``folder`` cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}{where}\n  {advice}") from error
