"""Plain files of the data folder: locks, documents and instruction texts."""
