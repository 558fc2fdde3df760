"""A package, so that no other of this name on the path (tinyrpc installs one) is taken for it."""
