"""An objective of another distribution, which the registry finds through its entry point. It fails on request."""
