"""Typed configuration schema and the YAML recipes that ship."""

from logfm.configs.base import Config, copy, find, load, parse, recipes, scripts

__all__ = ["Config", "copy", "find", "load", "parse", "recipes", "scripts"]
