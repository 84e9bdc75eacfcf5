"""The verbs of navctl, one file each."""
