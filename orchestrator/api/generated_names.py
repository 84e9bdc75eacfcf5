"""Generated names: an owner's name and a few letters drawn from a seed.

The seed is made of what the decider sees, so the same view gives the same name: carrying a plan out twice makes one
object, and a different view leads to a different name.
"""

from __future__ import annotations

import random

# Letters and digits that make no words and are not taken for one another.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
NAME_LIMIT = 63


def suffix(rng: random.Random) -> str:
    return "".join(rng.choices(ALPHABET, k=SUFFIX_LENGTH))


def with_suffix(base: str, rng: random.Random) -> str:
    """A name of at most 63 characters that begins with `base`, as far as that fits."""
    # A base that is cut inside must not leave a dot or dash before the dash: no name has that.
    kept = base[: NAME_LIMIT - SUFFIX_LENGTH - 1].rstrip("-.")
    return f"{kept}-{suffix(rng)}"
