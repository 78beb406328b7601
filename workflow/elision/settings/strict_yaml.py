"""YAML in which nothing is silently lost or misread.

Refused: duplicate keys, alias bombs, and numbers that YAML 1.1 reads otherwise than people do.
"""

from pathlib import Path
from typing import Any

import yaml

from elision.errors import ElisionError

_MOST = 100_000  # values, with every alias written out


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Refuse duplicate keys; YAML's own loader takes the last one."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if (first := lines.setdefault((key.tag, key.value), line)) != line:
                    raise ElisionError(f"line {line}: duplicate key {key.value!r} (first defined on line {first})")
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Refuse numbers that YAML 1.1 reads in base 8 or base 60, where that differs from what people read."""
        is_int = node.tag.endswith(":int")
        value = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        digits = node.value.replace("_", "")
        meant = None
        if ":" in digits:
            base, meant = 60, str(value)
        elif is_int and digits.lstrip("+-").isdecimal() and int(digits) != value:
            base, meant = 8, f"{value} or {int(digits)}"
        if meant is not None:
            raise ElisionError(
                f"line {node.start_mark.line + 1}: YAML 1.1 reads {node.value} as {value} (base {base}); "
                f'write {meant}, or "{node.value}" in quotes for a text'
            )
        return value


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def read(path: Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    FileNotFoundError
    ElisionError
        If it cannot be read, is not UTF-8, or as `parse` says.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ElisionError(f"{path}: the file cannot be read ({error.strerror}); give another file") from None
    except UnicodeDecodeError as error:
        raise ElisionError(f"{path}: the file is not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> Any:
    """Read YAML.

    Parameters
    ----------
    text : str
    where : str
        Where it stands, for messages.

    Raises
    ------
    ElisionError
        If it is no YAML, or something in it is refused.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {})
        return loader.construct_document(node)
    except ElisionError as error:
        raise ElisionError(f"{where}: {error}") from None
    except RecursionError:
        raise ElisionError(f"{where}: the values are nested too deeply; remove levels") from None
    except Exception as error:  # wrong dates and numbers fail in ways of their own
        raise ElisionError(f"{where}: not valid YAML: {error}") from None


def _size(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Count the values of a document with every alias written out."""
    if id(node) not in sizes:
        sizes[id(node)] = None
        inner = node.value if not isinstance(node, yaml.ScalarNode) else ()
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        sizes[id(node)] = 1 + sum(_size(part, sizes) for part in parts)
    size, line = sizes[id(node)], node.start_mark.line + 1
    if size is None:
        raise ElisionError(f"line {line}: the alias contains itself; delete the alias")
    if size > _MOST:
        raise ElisionError(
            f"line {line}: the file has more than {_MOST} values after aliases are expanded; shorten the file"
        )
    return size
