"""Pickles as Python 2 writes them: its strings are bytes, whose opcodes are others than those of text."""

import io
import pickle
from typing import ClassVar


class _Pickler(pickle._Pickler):
    """Writes text and bytes as strings of Python 2 (cPickle), and names the modules of NumPy 1."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, item: str | bytes) -> None:
        content = item.encode() if isinstance(item, str) else bytes(item)
        if self.proto == 0:
            text = repr(content)[1:]
            self.write(b"S" + text.encode() + b"\n")
        elif len(content) < 256:
            self.write(b"U" + bytes([len(content)]) + content)
        else:
            self.write(b"T" + len(content).to_bytes(4, "little") + content)
        self.memoize(item)

    dispatch[str] = dispatch[bytes] = save_string

    def save_global(self, item: object, name: str | None = None) -> None:
        module = item.__module__.replace("numpy._core", "numpy.core").replace("builtins", "__builtin__")
        self.write(b"c" + f"{module}\n{name or item.__name__}\n".encode())
        self.memoize(item)

    dispatch[type(save_string)] = dispatch[type] = dispatch[type(len)] = save_global


def dumps(item: object, protocol: int = 2) -> bytes:
    """Return what ``cPickle.dumps(item, protocol)`` of Python 2.7 returns, where all text is ``str``."""
    file = io.BytesIO()
    _Pickler(file, protocol, fix_imports=False).dump(item)
    return file.getvalue()
