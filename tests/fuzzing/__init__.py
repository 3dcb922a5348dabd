"""Fuzz every parser of files that users, archives or other machines may have made; see README.md."""
