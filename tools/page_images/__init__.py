# SPDX-License-Identifier: MIT
"""Page images of running programs: what tools/page-images.py is made of."""
