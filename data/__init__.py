"""The data that comes with the library, read through importlib.resources."""
