"""What a server is made of, from a file, the environment and options.

``load_configuration`` reads and checks, ``Building`` makes. The settings are fields of the classes
in ``schema``; all else follows from them. Needs the extra ``http``, and ``config`` for YAML.
"""

from .building import Building
from .given import Problem
from .loading import ConfigurationInvalid, EffectiveSetting, Loaded, load_configuration
from .schema import Configuration

__all__ = [
    "load_configuration",
    "Loaded",
    "EffectiveSetting",
    "Configuration",
    "ConfigurationInvalid",
    "Problem",
    "Building",
]
