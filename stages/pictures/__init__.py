"""Draw heads, overlays and parts of reports."""
