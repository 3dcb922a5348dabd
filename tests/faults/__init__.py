"""What goes wrong outside the program: interruptions, rot, company, shortage. See FAULTS.md."""
