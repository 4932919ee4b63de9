"""The specs of what comes with the package, a page a kind of part; the registries find them here."""
