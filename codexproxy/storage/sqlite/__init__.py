"""The SQLite databases of the data folder, which all processes of a host share."""
