"""Checks of a machine for `pipeline doctor`: one table, and one function for each check.

    findings.py       the result of a check
    machine.py        what the checks look at: places, model, device
    checks.py         CHECKS, the table
    software.py       Python, packages, extras, DVC
    compute.py        torch and its device, memory, processors
    places.py         disks: space, speed, permissions, locks
    transformer.py    the weights
    surroundings.py   locale, limits, clock, network settings

A check imports what it needs itself, so a broken package is a finding and not the end of the program.
"""
