"""The ground floor: errors, hashes, seeds, files, statistics, the environment. Imports nothing else of the package."""
