"""The labels of a WebDataset sample: the number or the name of a class in ``.cls``, or a field of ``.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wsloc.datasets.label_table import is_label_header
from wsloc.errors import ItemError, listed
from wsloc.files.documents import parse_json
from wsloc.files.names import is_text
from wsloc.files.reading import decode, read_bytes

LABELS = frozenset(("cls", "json"))
"""What follows the first dot in the names of the files that may have the label."""
_MAX_BYTES = 2**20
_NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class SampleLabels:
    """Reads labels.

    Attributes:
        names: of the classes, which numbers count from 0; empty if a number is the name of its class.
        field: of ``.json``, which then comes before ``.cls``; None for ``.cls``, else the one field with a usual name.
    """

    names: tuple[str, ...] = ()
    field: str | None = None

    def read(self, files: Mapping[str, Path]) -> tuple[str, ...]:
        """The classes of a sample, each once; none if it has no label.

        Args:
            files: of the sample, those of :data:`LABELS`.

        Raises:
            ItemError: if the label cannot be read or names no class; the sentence follows the sample's name.
        """
        if "cls" in files and (self.field is None or "json" not in files):
            return self._classes(_text(files["cls"], ".cls").strip() or None)
        if "json" not in files:
            return ()
        try:
            document = parse_json(_text(files["json"], ".json"))
        except ValueError as error:
            raise ItemError("has a .json that is not JSON") from error
        if not isinstance(document, dict):
            raise ItemError("has a .json that is no object")
        own = self._field_of(document)
        return () if own is None else self._classes(document[own])

    def _field_of(self, document: Mapping[str, object]) -> str | None:
        if self.field is not None:
            return self.field if self.field in document else None
        usual = [name for name in document if is_label_header(name)]
        if usual[1:]:
            raise ItemError(f"has {listed(usual, 5)} in its .json; `label_column` names the one")
        return usual[0] if usual else None

    def _classes(self, value: object) -> tuple[str, ...]:
        values = value if isinstance(value, list) else [] if value is None else [value]
        return tuple(dict.fromkeys(map(self._class, values)))

    def _class(self, value: object) -> str:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ItemError(f"has a label of type {type(value).__name__}, not the number or the name of a class")
        text = str(value).strip()
        if not text or len(text.splitlines()) > 1 or not is_text(text):
            raise ItemError(f"has the label {text[:40]!r}, not the name of one class")
        if not self.names or not _NUMBER.fullmatch(text):
            return text
        if not 0 <= int(text) < len(self.names):
            raise ItemError(f"has the label {text}, but there are {len(self.names)} classes, counted from 0")
        return self.names[int(text)]


def _text(path: Path, suffix: str) -> str:
    try:
        return decode(read_bytes(path, _MAX_BYTES))
    except OSError as error:
        raise ItemError(f"has a {suffix} that cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ItemError(f"has a {suffix} that is no text") from error
