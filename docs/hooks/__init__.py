"""Extend MkDocs for this site; `mkdocs.yml` names the modules."""
