"""The specs of what comes with the package, one page per kind of part; the registries find them here."""
