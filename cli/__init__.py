"""What people run: `navctl`, and `navarch`, which starts a daemon."""
