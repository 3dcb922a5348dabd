"""Stage `view`: show a store in the browser of this machine."""
