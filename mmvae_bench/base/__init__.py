"""The ground floor: errors, seeds, files, statistics, facts about the machine. Imports nothing else of the package."""
