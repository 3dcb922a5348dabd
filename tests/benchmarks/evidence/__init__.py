"""Compare attention maps with controls and rivals on real images, by one protocol; see docs/reference/evidence.md."""
