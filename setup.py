"""Packaging; everything that can be declared is in setup.cfg."""

from setuptools import find_packages, setup

# `prompts/` stands beside the package so that people find it; in a wheel it is
# package data of `codexproxy.prompts`.
setup(
    packages=[*find_packages(include=["codexproxy", "codexproxy.*"]), "codexproxy.prompts"],
    package_dir={"codexproxy.prompts": "prompts"},
)
