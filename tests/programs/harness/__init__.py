# SPDX-License-Identifier: MIT
"""What all programs of `make check-programs` have in common. program.py says how to add one."""
