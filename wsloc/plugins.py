"""Entries chosen by name: wsloc's own, those added at run time, and the user's, as ``package.module:attribute``."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeVar, cast

from wsloc.errors import UserError, did_you_mean, one_line

T = TypeVar("T")
PLUGIN = "package.module:function"
"""The form of a name that stands for a user's own entry."""
_trusts_files = False


class NamedByFile(str):
    """A name that a file gave and nobody typed: it chooses among what is known, and imports nothing else.

    Attributes:
        file: that names it.
    """

    file: Path

    def __new__(cls, name: str, file: Path) -> NamedByFile:
        """The name."""
        made = super().__new__(cls, name)
        made.file = file
        return made

    def __getnewargs__(self) -> tuple[str, Path]:  # type: ignore[override]
        """For pickle."""
        return str(self), self.file


def named_by_file(name: str, file: Path) -> str:
    """A name from a file, marked as such unless files are trusted."""
    return name if _trusts_files or ":" not in name else NamedByFile(name, file)


@contextlib.contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Within it, files that are read may name code to run, if ``trust``."""
    global _trusts_files
    before, _trusts_files = _trusts_files, trust or _trusts_files
    try:
        yield
    finally:
        _trusts_files = before


class Registry(MutableMapping[str, T]):
    """All entries of one kind by name; ``registry[name]`` also takes ``package.module:attribute``.

    An entry may be stored as the text ``package.module:attribute``, which is imported on use: listing and checking
    names imports nothing.

    Args:
        what: the kind in the singular, for messages.
        entries: by name.
        needs: an attribute that every entry has; by default it can be called.
    """

    def __init__(self, what: str, entries: Mapping[str, T | str], needs: str = "__call__") -> None:
        self.what, self.needs = what, needs
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        """The entry of that name.

        Raises:
            UserError: if there is none, or its module cannot be imported.
        """
        self.require(name)
        entry = self._entries.get(name, name)
        return cast("T", import_named(entry, self.what, self.needs)) if isinstance(entry, str) else entry

    def __setitem__(self, name: str, entry: T | str) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of a known name, or the default."""
        if name not in self:
            return default
        return self[name]

    def require(self, name: str) -> None:
        """Refuse a name that is neither known nor has the form ``package.module:attribute``; imports nothing.

        Raises:
            UserError: listing the names.
        """
        if name in self or all(name.partition(":")):
            return
        close = did_you_mean(name, self)
        hint = f" ({close})" if close else ""
        raise UserError(f"There is no {self.what} {name!r}{hint}; choose {', '.join(self)}, or {PLUGIN}.")


def bind_entry(registry: Registry[Any], name: str, kind: type[T], *given: Any) -> T:
    """The result of an entry for some arguments.

    Args:
        registry: whose entries are functions.
        name: of the entry.
        kind: what it must return.
        given: its arguments.

    Raises:
        UserError: if there is no such entry, it refuses, or a user's own raises or returns something else.
    """
    bind = registry[name]
    if name in registry:
        own: T = bind(*given)
        return own
    with users_code(registry.what, name):
        bound = bind(*given)
    if not isinstance(bound, kind):
        raise UserError(f"The {registry.what} {name} must return a {kind.__name__}, not {type(bound).__name__}.")
    return bound


def import_named(reference: str, what: str, needs: str = "__call__") -> Any:
    """What ``package.module:attribute`` names; the current folder is searched, too.

    Args:
        reference: the module and the attribute.
        what: the attribute is for, in messages.
        needs: an attribute that it must have itself.

    Raises:
        UserError: if the module cannot be imported, or has no such attribute, or a file named it that is not trusted.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise UserError(f"The {what} {reference!r} must be given as {PLUGIN}.")
    if isinstance(reference, NamedByFile):
        raise UserError(
            f"{reference.file} names code to run as the {what}, {reference}; if you know what it does, name it "
            "yourself, or add `trust=True`."
        )
    # A user's module is in the folder where the command is typed, which a script's path lacks.
    if (here := str(Path.cwd())) not in sys.path and not module_name.startswith("wsloc."):
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(
            f"The {what} {reference}: the module {module_name} cannot be imported from {here}: {error}."
        ) from error
    except Exception as error:  # the user's own code may raise anything
        raise UserError(
            f"The {what} {reference}: importing {module_name} raised {named_error(error)}; fix the module."
        ) from error
    if not hasattr(found := getattr(module, attribute, None), needs):
        kind = "function" if needs == "__call__" else what
        raise UserError(f"The {what} {reference}: the module {module_name} has no {kind} {attribute}.")
    return found


@contextlib.contextmanager
def users_code(what: str, reference: str) -> Iterator[None]:
    """Turn whatever a user's own code raises into a UserError that names it.

    Args:
        what: the code is, such as ``network``.
        reference: ``package.module:function``.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        call = f"{reference.partition(':')[2]}()"
        raise UserError(f"The {what} {reference}: {call} raised {named_error(error)}; fix the function.") from error


def named_error(error: BaseException) -> str:
    """An error with its type, on one line."""
    return f"{type(error).__name__} ({one_line(error)})"
