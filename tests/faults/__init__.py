"""Tests of faults outside the program: kills, damaged bytes, concurrent runs, full disks, no memory. See FAULTS.md."""
