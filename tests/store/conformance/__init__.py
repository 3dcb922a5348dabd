"""Valid and invalid stores for authors of readers: a table of changes to one small valid store.

`python -m tests.store.conformance OUT` writes each store as a folder, and `expected.json` beside them.
`store/FORMAT.md` explains the verdicts.
"""

from tests.store.conformance.cases import CASES, Case, write_case

__all__ = ["CASES", "Case", "write_case"]
