"""YAML as people and DVC write it: UTF-8, numbers as YAML 1.2 reads them, and no key twice."""

import re
from typing import Any

import yaml


class Unreadable(ValueError):
    """A YAML file that cannot be read; the message says where and why."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the numbers of YAML 1.2, as DVC reads them.

    `1e-3` is a number, which YAML 1.1 takes for text. `050` and `1:30` are text, which YAML 1.1 takes for 40 and 90.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:int"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9]\d*)$", re.ASCII), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$", re.ASCII), list("-+.0123456789")
)


def parse(content: bytes, name: str) -> Any:
    """Return the content of a YAML file; None if the file is empty.

    Args:
        content: the bytes of the file.
        name: the file's name, for the message of an error.

    Raises:
        Unreadable: if the file is not UTF-8 or not YAML, or if a key occurs twice in a block.

    Example:
        >>> parse(b"rate: 1e-3", "params.yaml")
        {'rate': 0.001}
    """
    try:
        text = content.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise Unreadable(f"{name}, line {line}: the file is not UTF-8; save it as UTF-8 in your editor") from error
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if faults := list(_faults(node, "", {})):
            raise Unreadable("\n".join(f"{name}, {fault}" for fault in faults))
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise Unreadable(f"{name}{_place_and_reason(error, text)}") from error


def _faults(node, path, finished):
    """Yield a sentence for each key that occurs a second time in its block, and for a block within itself.

    `finished` says of each node that was seen whether all of it was: one that was not contains itself by an alias.
    """
    if id(node) in finished:
        if not finished[id(node)]:
            yield f"line {node.start_mark.line + 1}: this block contains itself, by the alias at {path}"
        return
    finished[id(node)] = False
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _faults(item, f"{path}[{i}]", finished)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            below = f"{path}.{name}".removeprefix(".")
            if name in first and name != "<<":
                yield f"line {line}: the key {below} occurs twice, first in line {first[name]}; delete one of them"
            first.setdefault(name, line)
            yield from _faults(value, below, finished)
    finished[id(node)] = True


def _place_and_reason(error, text):
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f" cannot be read as YAML: {error}"
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    hint = "; YAML indents by spaces, so replace the tab" if "\t" in line else ""
    return f", line {mark.line + 1}, column {mark.column + 1}: {error.problem or error}{hint}: {line.strip()!r}"
