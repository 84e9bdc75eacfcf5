"""The object model: kinds, their JSON form, defaults, validation, selectors, quantities, patches and errors."""
