"""Valid and invalid stores for anybody who writes a reader: a table of changes to one small valid store.

`python -m tests.store.conformance OUT` writes each as a folder, with `expected.json` beside them. `store/FORMAT.md`
says what the verdicts mean.
"""

from tests.store.conformance.cases import CASES, Case, write_case

__all__ = ["CASES", "Case", "write_case"]
