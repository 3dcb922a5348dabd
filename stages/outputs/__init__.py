"""Know what commands write: the folders, where these may lie, and the cells of tables."""
