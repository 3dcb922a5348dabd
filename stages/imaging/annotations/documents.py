"""Parse JSON and XML from untrusted sources.

These are refused: a document type in XML (its entities could expand without end, or name other files), deep nesting,
and numbers such as NaN. Nothing in a file is executed or fetched.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Never
from xml.etree import ElementTree as ET
from xml.parsers import expat

from stages.imaging.opening import refuse

__all__ = ["SUFFIXES", "parse_document"]

SUFFIXES = (".json", ".geojson", ".xml")
"""Extensions of annotations, in lower case."""


def parse_document(path: Path, data: bytes) -> Any:
    """Return the value of a JSON file, or the root element of an XML file.

    Args:
        path: Its extension says which of the two it is; messages name it.
        data: The file's bytes.

    Raises:
        InputProblemsError: the file is neither JSON nor XML, or holds something that is refused.
    """
    return _parse_xml(path, data) if path.suffix.lower() == ".xml" else _parse_json(path, data)


def _parse_json(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except RecursionError:
        refuse(path, "is nested too deeply for an annotation; export it again")
    except UnicodeDecodeError:
        refuse(path, "is not JSON (it is not text in UTF-8); export it again")
    except ValueError as error:
        refuse(path, f"is not JSON ({error}); export it again")


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no number")


def _parse_xml(path: Path, data: bytes) -> ET.Element:
    def refuse_doctype(*_: object) -> Never:
        refuse(path, "declares a document type, whose entities could expand without end; export it without one")

    # The parser reports a document type in every encoding; a search in the bytes would miss it in UTF-16.
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    try:
        parser.Parse(data, True)  # noqa: FBT003 - the only form
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        refuse(path, f"is not XML ({error}); export it again")
