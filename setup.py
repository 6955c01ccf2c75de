"""The list of packages. Everything else about the distribution is in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["imggen_lib", "imggen_lib.*"]), "imggen_lib.data"])
