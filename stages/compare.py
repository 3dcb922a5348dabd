"""Stage `compare`: train several arms with few and many labels, and compare them."""
