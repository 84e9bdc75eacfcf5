"""Objects in words, for `navctl describe`: a general form, and more for the kinds people look into most. Pure."""
